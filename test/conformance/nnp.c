// A set-user-ID program that tells what it became: with no_new_privs it stays the caller.
#include <stdio.h>
#include <unistd.h>

int main(void) {
  printf("Effective uid: %d\n", (int)geteuid());
  return 0;
}
