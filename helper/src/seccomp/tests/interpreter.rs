//! Runs a filter as the kernel would: the instructions that seccomp programs are made of.

use libc::sock_filter;

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub nr: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

pub fn run(program: &[sock_filter], call: &Call) -> u32 {
    let mut accumulator = 0u32;
    let mut at = 0;
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let mut jump = |taken: bool| at += usize::from(if taken { jt } else { jf });
        match code {
            0x20 => accumulator = word(call, k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x45 => jump(accumulator & k != 0),
            0x06 => return k,
            _ => panic!("instruction {code:#x} is not expected in a seccomp program"),
        }
    }
}

/// What the kernel demands of a program before it runs it: every jump lands inside, the end returns.
pub fn verify(program: &[sock_filter]) {
    assert!(!program.is_empty() && program.len() <= 4096);
    for (at, each) in program.iter().enumerate() {
        let furthest = match each.code {
            0x05 => at + 1 + each.k as usize,
            0x15 | 0x25 | 0x35 | 0x45 => at + 1 + usize::from(each.jt.max(each.jf)),
            0x06 => at,
            _ => at + 1,
        };
        assert!(
            furthest < program.len(),
            "instruction {at} leaves the program"
        );
    }
}

fn word(call: &Call, offset: u32) -> u32 {
    match offset {
        0 => call.nr,
        4 => call.arch,
        16..64 if offset % 4 == 0 => {
            let arg = call.args[(offset as usize - 16) / 8];
            (arg >> (8 * (offset % 8))) as u32
        }
        _ => panic!("load from {offset}"),
    }
}
