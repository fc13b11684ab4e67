//! A classic BPF program, written from its end to its start.
//!
//! Jumps go forward only, so writing backwards means that every target is known when a jump is
//! written. A target beyond a jump's reach of 255 gets a copy (a return) or a long jump right behind.

use libc::sock_filter;

/// An instruction already written, counted from the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(usize);

/// How the accumulator is compared, unsigned, with the constant.
#[derive(Debug, Clone, Copy)]
pub enum Test {
    Equal,
    Greater,
    GreaterOrEqual,
}

#[derive(Default)]
pub struct Program {
    /// Last instruction first.
    reversed: Vec<sock_filter>,
    returns: Vec<(u32, Label)>,
}

const LD_W_ABS: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const ALU_AND_K: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const JMP_JA: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const RET_K: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

impl Program {
    /// Ends with this decision: a return that was written before, or a new one.
    pub fn ret(&mut self, decision: u32) -> Label {
        if let Some(&(_, label)) = self.returns.iter().find(|each| each.0 == decision) {
            return label;
        }
        let label = self.push(RET_K, 0, 0, decision);
        self.returns.push((decision, label));
        label
    }

    /// Loads the 32-bit word of `seccomp_data` at `offset`, then goes to `next`.
    pub fn load(&mut self, offset: u32, next: Label) -> Label {
        self.fall_through(next);
        self.push(LD_W_ABS, 0, 0, offset)
    }

    /// Masks the accumulator, then goes to `next`.
    pub fn and(&mut self, mask: u32, next: Label) -> Label {
        self.fall_through(next);
        self.push(ALU_AND_K, 0, 0, mask)
    }

    pub fn branch(&mut self, test: Test, k: u32, yes: Label, no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let (mut yes, mut no) = (yes, no);
        // A trampoline for one side moves the other side away by one.
        loop {
            if self.distance(no) > u8::MAX.into() {
                no = self.bring_near(no);
            } else if self.distance(yes) > u8::MAX.into() {
                yes = self.bring_near(yes);
            } else {
                break;
            }
        }
        let op = match test {
            Test::Equal => libc::BPF_JEQ,
            Test::Greater => libc::BPF_JGT,
            Test::GreaterOrEqual => libc::BPF_JGE,
        };
        let code = (libc::BPF_JMP | op | libc::BPF_K) as u16;
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.push(code, jt, jf, k)
    }

    /// The finished program; its first instruction is the one that was written last.
    pub fn finish(mut self) -> Vec<sock_filter> {
        self.reversed.reverse();
        self.reversed
    }

    fn fall_through(&mut self, next: Label) {
        if self.distance(next) > 0 {
            self.bring_near(next);
        }
    }

    fn bring_near(&mut self, target: Label) -> Label {
        let there = self.reversed[target.0];
        if there.code == RET_K {
            let copy = self.push(RET_K, 0, 0, there.k);
            // Later code is nearer to the copy.
            for each in self.returns.iter_mut().filter(|each| each.0 == there.k) {
                each.1 = copy;
            }
            copy
        } else {
            let distance = self.distance(target) as u32;
            self.push(JMP_JA, 0, 0, distance)
        }
    }

    /// Instructions between the one written next and `target`.
    fn distance(&self, target: Label) -> usize {
        self.reversed.len() - target.0 - 1
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(sock_filter { code, jt, jf, k });
        Label(self.reversed.len() - 1)
    }
}
