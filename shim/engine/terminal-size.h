// The size of a terminal's window.
#pragma once

#include <stdint.h>
#include <sys/ioctl.h>

namespace belay::shim {

struct TerminalSize {
  uint16_t columns = 0;
  uint16_t rows = 0;

  // Nobody has said how large it is.
  bool isUnknown() const { return columns == 0 && rows == 0; }
};

// Sets the size, and with a change the foreground processes get SIGWINCH. A terminal that is no
// more has none, which is no failure. Async-signal-safe. TIOCSWINSZ, ioctl_tty(2).
inline void setTerminalSize(int master, TerminalSize size) {
  struct winsize window = {};
  window.ws_col = size.columns;
  window.ws_row = size.rows;
  (void)ioctl(master, TIOCSWINSZ, &window);
}

}  // namespace belay::shim
