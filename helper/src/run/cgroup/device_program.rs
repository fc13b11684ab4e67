//! The decision on devices as an eBPF program, which cgroup v2 wants.

use super::devices::Decision;
use crate::sys::bpf::Instruction;

/// Offsets in `struct bpf_cgroup_dev_ctx`: access and type in one word, then the numbers.
const ACCESS_TYPE: i16 = 0;
const MAJOR: i16 = 4;
const MINOR: i16 = 8;

const BLOCK: i32 = 1;
const CHAR: i32 = 2;

/// Registers: the context arrives in 1, the answer leaves in 0.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR_NUMBER: u8 = 4;
const MINOR_NUMBER: u8 = 5;
const SCRATCH: u8 = 6;

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbf;
const MOVE_NUMBER: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_IF_NOT: u8 = 0x55;
const JUMP_IF: u8 = 0x15;
const EXIT: u8 = 0x95;

/// Bits that none of the three accesses has.
const ALL_ACCESSES: i32 = 7;

pub fn assemble(decision: &Decision) -> Vec<Instruction> {
    let mut program = vec![
        load(TYPE, ACCESS_TYPE),
        with_register(MOVE, ACCESS, TYPE),
        with_number(AND, TYPE, 0xffff, 0),
        with_number(SHIFT_RIGHT, ACCESS, 16, 0),
        load(MAJOR_NUMBER, MAJOR),
        load(MINOR_NUMBER, MINOR),
    ];
    for (range, &access) in &decision.exceptions {
        let mut tests = vec![(TYPE, if range.block { BLOCK } else { CHAR })];
        tests.extend(range.major.map(|major| (MAJOR_NUMBER, major as i32)));
        tests.extend(range.minor.map(|minor| (MINOR_NUMBER, minor as i32)));
        // Allowed by exception: nothing else was asked for. Denied by exception: any of it was.
        let (mask, jump) = if decision.allow {
            (access as i32, JUMP_IF)
        } else {
            (ALL_ACCESSES & !(access as i32), JUMP_IF_NOT)
        };
        let body = [
            with_register(MOVE, SCRATCH, ACCESS),
            with_number(AND, SCRATCH, mask, 0),
            with_number(jump, SCRATCH, 0, 2),
            with_number(MOVE_NUMBER, ANSWER, i32::from(!decision.allow), 0),
            with_number(EXIT, 0, 0, 0),
        ];
        for (index, &(register, number)) in tests.iter().enumerate() {
            let past = tests.len() - index - 1 + body.len();
            program.push(with_number(JUMP_IF_NOT, register, number, past as i16));
        }
        program.extend(body);
    }
    program.push(with_number(
        MOVE_NUMBER,
        ANSWER,
        i32::from(decision.allow),
        0,
    ));
    program.push(with_number(EXIT, 0, 0, 0));
    program
}

fn load(register: u8, offset: i16) -> Instruction {
    Instruction {
        code: LOAD_WORD,
        registers: register | (CONTEXT << 4),
        offset,
        immediate: 0,
    }
}

fn with_register(code: u8, destination: u8, source: u8) -> Instruction {
    Instruction {
        code,
        registers: destination | (source << 4),
        offset: 0,
        immediate: 0,
    }
}

fn with_number(code: u8, register: u8, immediate: i32, offset: i16) -> Instruction {
    Instruction {
        code,
        registers: register,
        offset,
        immediate,
    }
}

#[cfg(test)]
mod tests {
    use super::super::devices::{Decision, MKNOD, READ, WRITE};
    use super::*;

    /// Runs the few instructions that `assemble` uses.
    fn ask(program: &[Instruction], kind: i32, access: u32, major: u32, minor: u32) -> bool {
        let context = [(access << 16) | kind as u32, major, minor];
        let mut registers = [0u64; 11];
        let mut at = 0;
        loop {
            let Instruction {
                code,
                registers: names,
                offset,
                immediate,
            } = program[at];
            let (to, from) = ((names & 15) as usize, (names >> 4) as usize);
            at += 1;
            match code {
                LOAD_WORD => registers[to] = context[offset as usize / 4].into(),
                MOVE => registers[to] = registers[from],
                MOVE_NUMBER => registers[to] = immediate as u64,
                AND => registers[to] &= immediate as u64,
                SHIFT_RIGHT => registers[to] >>= immediate,
                JUMP_IF if registers[to] == immediate as u64 => at += offset as usize,
                JUMP_IF_NOT if registers[to] != immediate as u64 => at += offset as usize,
                JUMP_IF | JUMP_IF_NOT => {}
                EXIT => return registers[0] == 1,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn program(rules: &str) -> Vec<Instruction> {
        assemble(&Decision::of(
            &serde_json::from_str::<Vec<_>>(rules).unwrap(),
        ))
    }

    #[test]
    fn allows_exactly_what_is_excepted() {
        let program = program(
            r#"[{"allow":false},
                {"allow":true,"type":"c","access":"m"},
                {"allow":true,"type":"c","major":1,"minor":3,"access":"rw"},
                {"allow":true,"type":"c","major":136,"access":"rwm"}]"#,
        );
        assert!(ask(&program, CHAR, READ | WRITE, 1, 3));
        assert!(ask(&program, CHAR, MKNOD, 8, 0));
        assert!(!ask(&program, CHAR, READ | MKNOD, 1, 3));
        assert!(!ask(&program, CHAR, READ, 1, 4));
        assert!(!ask(&program, BLOCK, READ, 1, 3));
        assert!(ask(&program, CHAR, READ | WRITE | MKNOD, 136, 77));
    }

    #[test]
    fn denies_exactly_what_is_excepted() {
        let program =
            program(r#"[{"allow":true},{"allow":false,"type":"b","major":8,"access":"w"}]"#);
        assert!(!ask(&program, BLOCK, READ | WRITE, 8, 1));
        assert!(ask(&program, BLOCK, READ, 8, 1));
        assert!(ask(&program, CHAR, WRITE, 8, 1));
    }
}
