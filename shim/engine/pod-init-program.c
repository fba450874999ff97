// The first process of a pod's shared pid namespace: it reaps what its containers orphan, and nothing
// else. Without a C library, so that it costs a page or two; run from a sealed memory file, so that
// /proc/1/exe leads nowhere. Signals from inside the namespace do not reach a first process that has
// no handler for them; it goes when it is killed from outside.
#include <asm/unistd.h>

static long call(long number, long a, long b, long c, long d) {
  long result;
#if defined(__x86_64__)
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                   : "rcx", "r11", "memory");
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  result = x0;
#else
#error "belay knows x86_64 and aarch64."
#endif
  return result;
}

enum { BLOCK = 0, ANY_CHILD = -1, NO_HANG = 1, SIGNAL_CHILD = 17, SET_BYTES = 8 };

void _start(void) {
  // Blocked, so that one which comes between the two calls below is waited for and not lost.
  unsigned long children = 1ul << (SIGNAL_CHILD - 1);
  call(__NR_rt_sigprocmask, BLOCK, (long)&children, 0, SET_BYTES);
  for (;;) {
    while (call(__NR_wait4, ANY_CHILD, 0, NO_HANG, 0) > 0) {
    }
    call(__NR_rt_sigtimedwait, (long)&children, 0, 0, SET_BYTES);
  }
}
