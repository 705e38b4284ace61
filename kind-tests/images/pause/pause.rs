//! The process that holds a Pod's namespaces: it waits, and reaps orphans where containers share their process namespace.
//!
//! Linked statically, so that its image is this one file. The container runtime ends it by SIGKILL; pid 1 ignores all other signals.

use std::ffi::c_int;

unsafe extern "C" {
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn usleep(microseconds: u32) -> c_int;
}

fn main() {
    loop {
        // SAFETY: waitpid accepts a null status; usleep has no preconditions.
        unsafe {
            while waitpid(-1, std::ptr::null_mut(), 0) > 0 {}
            usleep(900_000);
        }
    }
}
