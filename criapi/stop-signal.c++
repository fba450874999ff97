// Signals between the CRI's enum, which names them, and Linux's numbers.
#include "criapi/stop-signal.h"

#include <signal.h>

namespace belay::criapi {
namespace {

// By enum value, 1 to 34. What follows is real-time signals, in order.
constexpr int32_t CLASSIC[] = {
    0,       SIGABRT, SIGALRM,   SIGBUS,  SIGCHLD,   SIGCLD,   SIGCONT, SIGFPE,  SIGHUP,
    SIGILL,  SIGINT,  SIGIO,     SIGIOT,  SIGKILL,   SIGPIPE,  SIGPOLL, SIGPROF, SIGPWR,
    SIGQUIT, SIGSEGV, SIGSTKFLT, SIGSTOP, SIGSYS,    SIGTERM,  SIGTRAP, SIGTSTP, SIGTTIN,
    SIGTTOU, SIGURG,  SIGUSR1,   SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
};

// glibc keeps 32 and 33 for itself, so SIGRTMIN is 34 for every program in a container; taken as a
// constant because SIGRTMIN is a function of this process's libc. SIGRTMAX is 64.
constexpr int32_t RT_MIN = 34;
constexpr int32_t RT_OFFSET = runtime::v1::SIGNAL_SIGRTMIN - RT_MIN;

static_assert(std::size(CLASSIC) == runtime::v1::SIGNAL_SIGRTMIN);
static_assert(runtime::v1::SIGNAL_SIGRTMAX - RT_OFFSET == 64);

}  // namespace

int32_t signalNumber(runtime::v1::Signal signal, const Field& field) {
  if (!runtime::v1::Signal_IsValid(signal)) {
    field.refuse("there is no signal ", static_cast<int>(signal), " in the CRI");
  }
  return signal < runtime::v1::SIGNAL_SIGRTMIN ? CLASSIC[signal] : signal - RT_OFFSET;
}

runtime::v1::Signal signalOfNumber(int32_t number) {
  if (number >= RT_MIN && number <= 64) {
    return static_cast<runtime::v1::Signal>(number + RT_OFFSET);
  }
  for (size_t i = 1; i < std::size(CLASSIC); ++i) {
    if (CLASSIC[i] == number) return static_cast<runtime::v1::Signal>(i);
  }
  return runtime::v1::SIGNAL_RUNTIME_DEFAULT;
}

}  // namespace belay::criapi
