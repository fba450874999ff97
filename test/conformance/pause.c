// The entry point of the suite's pause images: waits to be stopped.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void onStop(int number) {
  _exit(0);
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "-v") == 0) return puts("pause") < 0;
  signal(SIGINT, onStop);
  signal(SIGTERM, onStop);
  for (;;)
    pause();
}
