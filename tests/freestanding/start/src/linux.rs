//! Linux: the entry and the system call, in the words of each machine.
//!
//! `_start` is where the kernel begins, with an aligned stack; it calls
//! `nabiz_program`, which the program defines, and exits with what that
//! returns. `nabiz_system_call(number, a, b, c)` is a C function.

use core::arch::global_asm;

// A function expects its return address on the stack, hence `call`.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".global _start",
    "_start:",
    "call nabiz_program",
    "mov edi, eax",
    "mov eax, 60",
    "syscall",
    "ud2",
    ".global nabiz_system_call",
    "nabiz_system_call:",
    "mov rax, rdi",
    "mov rdi, rsi",
    "mov rsi, rdx",
    "mov rdx, rcx",
    "syscall",
    "ret",
);

#[cfg(target_arch = "x86")]
global_asm!(
    ".global _start",
    "_start:",
    "call nabiz_program",
    "mov ebx, eax",
    "mov eax, 1",
    "int 0x80",
    "ud2",
    ".global nabiz_system_call",
    "nabiz_system_call:",
    "push ebx",
    "mov eax, [esp + 8]",
    "mov ebx, [esp + 12]",
    "mov ecx, [esp + 16]",
    "mov edx, [esp + 20]",
    "int 0x80",
    "pop ebx",
    "ret",
);

// ARMv6-M has no other than Thumb instructions.
#[cfg(target_arch = "arm")]
global_asm!(
    ".thumb",
    ".global _start",
    ".type _start, %function",
    ".thumb_func",
    "_start:",
    "bl nabiz_program",
    "movs r7, #1",
    "svc 0",
    "udf #0",
    ".global nabiz_system_call",
    ".type nabiz_system_call, %function",
    ".thumb_func",
    "nabiz_system_call:",
    "push {{r7, lr}}",
    "mov r7, r0",
    "mov r0, r1",
    "mov r1, r2",
    "mov r2, r3",
    "svc 0",
    "pop {{r7, pc}}",
);

#[cfg(target_arch = "riscv32")]
global_asm!(
    ".global _start",
    "_start:",
    "call nabiz_program",
    "li a7, 93",
    "ecall",
    "unimp",
    ".global nabiz_system_call",
    "nabiz_system_call:",
    "mv a7, a0",
    "mv a0, a1",
    "mv a1, a2",
    "mv a2, a3",
    "ecall",
    "ret",
);

// A caller leaves room for what it calls: a frame of 16 bytes.
#[cfg(target_arch = "powerpc")]
global_asm!(
    ".global _start",
    "_start:",
    "li 0, 0",
    "stwu 0, -16(1)",
    "bl nabiz_program",
    "li 0, 1",
    "sc",
    "trap",
    ".global nabiz_system_call",
    "nabiz_system_call:",
    "mr 0, 3",
    "mr 3, 4",
    "mr 4, 5",
    "mr 5, 6",
    "sc",
    // The summary overflow bit says that it failed, with a positive number.
    "bnslr",
    "neg 3, 3",
    "blr",
);

// As above, of 160 bytes.
#[cfg(target_arch = "s390x")]
global_asm!(
    ".global _start",
    "_start:",
    "aghi %r15, -160",
    "brasl %r14, nabiz_program",
    "lghi %r1, 1",
    "svc 0",
    "j .",
    ".global nabiz_system_call",
    "nabiz_system_call:",
    "lgr %r1, %r2",
    "lgr %r2, %r3",
    "lgr %r3, %r4",
    "lgr %r4, %r5",
    "svc 0",
    "br %r14",
);

unsafe extern "C" {
    fn nabiz_system_call(number: usize, a: usize, b: usize, c: usize) -> isize;
}

/// Linux numbers its calls anew for some machines.
const EXIT: usize = if cfg!(target_arch = "x86_64") {
    60
} else if cfg!(target_arch = "riscv32") {
    93
} else {
    1
};
const WRITE: usize = if cfg!(target_arch = "x86_64") {
    1
} else if cfg!(target_arch = "riscv32") {
    64
} else {
    4
};

/// How many bytes were written, if any could be.
pub(crate) fn write(file: u32, bytes: &[u8]) -> Option<usize> {
    let address = bytes.as_ptr().expose_provenance();
    // SAFETY: `write` only reads, and only these bytes.
    let written = unsafe { nabiz_system_call(WRITE, file as usize, address, bytes.len()) };
    usize::try_from(written).ok()
}

pub(crate) fn exit(status: u32) -> ! {
    loop {
        // SAFETY: `exit` touches no memory and does not return.
        unsafe { nabiz_system_call(EXIT, status as usize, 0, 0) };
    }
}
