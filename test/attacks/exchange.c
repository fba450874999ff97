// Exchanges the names of each pair of paths, for ever and as fast as it can: what a container does
// to a volume that it shares while another one is set up upon it (CVE-2021-30465 and its kind).
//
// usage: exchange A B [A B]...     Prints "ready" when every pair has been exchanged once.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif

int main(int argc, char** argv) {
  int ready = 0;
  for (;;) {
    for (int i = 1; i + 1 < argc; i += 2) {
      if (renameat2(AT_FDCWD, argv[i], AT_FDCWD, argv[i + 1], RENAME_EXCHANGE) < 0 && !ready) {
        perror(argv[i]);
        return 1;
      }
    }
    if (!ready) {
      puts("ready");
      fflush(stdout);
      ready = 1;
    }
  }
}
