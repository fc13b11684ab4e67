//! Giving memory back that is not needed for a while.

use std::ffi::c_void;

/// How much of the stack may have been used.
const STACK: usize = 256 << 10;

/// Returns free memory of the heap, what lies below the present end of the stack, and the mapped pages of the program's
/// own code and constants, which the kernel maps in again from the file where they are used.
pub fn trim() {
    // SAFETY: takes a number; frees only what malloc has as free.
    unsafe { libc::malloc_trim(0) };
    drop_unused_stack();
    drop_program();
}

fn drop_program() {
    // SAFETY: getauxval only reads what the kernel gave the process; absent entries are 0.
    let (headers, count) = unsafe {
        (
            libc::getauxval(libc::AT_PHDR) as *const libc::Elf64_Phdr,
            libc::getauxval(libc::AT_PHNUM) as usize,
        )
    };
    if headers.is_null() {
        return;
    }
    // SAFETY: the kernel says that so many program headers of this process lie there; nobody writes to them.
    let headers = unsafe { std::slice::from_raw_parts(headers, count) };
    let Some(own) = headers.iter().find(|header| header.p_type == libc::PT_PHDR) else {
        return;
    };
    let page = rustix::param::page_size();
    let base = (headers.as_ptr() as usize).wrapping_sub(own.p_vaddr as usize);
    for header in headers {
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
            let start = base.wrapping_add(header.p_vaddr as usize);
            let end = (start + header.p_memsz as usize) & !(page - 1);
            let start = start.next_multiple_of(page);
            if start < end {
                // SAFETY: whole pages of a segment that is mapped from a file and never written to: their content comes
                // from the file again.
                unsafe { libc::madvise(start as *mut c_void, end - start, libc::MADV_DONTNEED) };
            }
        }
    }
}

#[inline(never)]
fn drop_unused_stack() {
    let here = 0u8;
    // Well below this function's frame and those of the calls it makes.
    let page = rustix::param::page_size();
    let end = ((&raw const here as usize) & !(page - 1)) - page;
    // SAFETY: the process has one thread; nothing below the end of its stack is in use. Where nothing is mapped, nothing
    // happens.
    unsafe { libc::madvise((end - STACK) as *mut c_void, STACK, libc::MADV_DONTNEED) };
}
