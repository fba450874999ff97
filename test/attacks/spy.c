// Looks at every process of its /proc from the moment it appears, with whatever rights it has: its
// root, working directory, descriptors, memory and privileges (CVE-2016-9962, CVE-2024-21626).
//
// usage: spy REPORT MARKER SECRET CAPABILITIES
//   MARKER        a path of the host; SECRET  words of the runtime's memory, with '+' for each space
//                 or part that shall not be in this program's own arguments
//   CAPABILITIES  hexadecimal: what a process here may have at most
//
// Rewrites REPORT with "SEEN UNKNOWN MARKERS SECRETS PRIVILEGES": processes looked at; those of them
// caught before they ran a program of the container; and how often the host's file, the secret, or
// too much of a privilege was found.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned long seen, unknown, markers, secrets, privileges;
static const char* marker;
static char secret[256];
static unsigned long long allowed;
static dev_t ownDevice;

static void report(const char* path) {
  char text[160], temporary[256];
  int length = snprintf(text, sizeof(text), "%lu %lu %lu %lu %lu\n", seen, unknown, markers,
                        secrets, privileges);
  snprintf(temporary, sizeof(temporary), "%s.new", path);
  int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  write(fd, text, length);
  close(fd);
  rename(temporary, path);
}

static void lookThrough(const char* pid, const char* link) {
  char path[512];
  struct stat info;
  snprintf(path, sizeof(path), "/proc/%s/%s%s", pid, link, marker);
  if (stat(path, &info) == 0) ++markers;
  // A way up from a directory of the host's.
  snprintf(path, sizeof(path), "/proc/%s/%s/../../../../../../../..%s", pid, link, marker);
  if (stat(path, &info) == 0) ++markers;
}

static void lookAtDescriptors(const char* pid) {
  char path[300];
  snprintf(path, sizeof(path), "/proc/%s/fd", pid);
  DIR* fds = opendir(path);
  if (fds == NULL) return;
  struct dirent* entry;
  while ((entry = readdir(fds)) != NULL) {
    if (entry->d_name[0] == '.') continue;
    char link[64];
    snprintf(link, sizeof(link), "fd/%.32s", entry->d_name);
    lookThrough(pid, link);
  }
  closedir(fds);
}

static void lookAtPrivileges(const char* pid) {
  char path[300], text[4096];
  snprintf(path, sizeof(path), "/proc/%s/status", pid);
  int fd = open(path, O_RDONLY);
  if (fd < 0) return;
  ssize_t length = read(fd, text, sizeof(text) - 1);
  close(fd);
  if (length <= 0) return;
  text[length] = '\0';
  const char* line = strstr(text, "\nCapPrm:");
  if (line != NULL && (strtoull(line + 8, NULL, 16) & ~allowed) != 0) ++privileges;
}

static void lookAtMemory(const char* pid) {
  static char buffer[1 << 20];
  char path[300], line[512];
  snprintf(path, sizeof(path), "/proc/%s/mem", pid);
  int memory = open(path, O_RDONLY);
  snprintf(path, sizeof(path), "/proc/%s/maps", pid);
  FILE* maps = fopen(path, "r");
  while (memory >= 0 && maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
    unsigned long from, to;
    char access[8];
    // Constants of the program are the same in every copy of it.
    if (sscanf(line, "%lx-%lx %7s", &from, &to, access) != 3 || access[1] != 'w') continue;
    for (; from < to; from += sizeof(buffer)) {
      size_t size = to - from < sizeof(buffer) ? to - from : sizeof(buffer);
      ssize_t got = pread(memory, buffer, size, from);
      if (got > 0 && memmem(buffer, got, secret, strlen(secret)) != NULL) ++secrets;
    }
  }
  if (maps != NULL) fclose(maps);
  if (memory >= 0) close(memory);
}

static void look(const char* pid) {
  char path[300];
  struct stat info;
  ++seen;
  lookAtPrivileges(pid);
  lookThrough(pid, "root");
  lookThrough(pid, "cwd");
  lookAtDescriptors(pid);
  snprintf(path, sizeof(path), "/proc/%s/exe", pid);
  if (stat(path, &info) == 0 && info.st_dev != ownDevice) {
    ++unknown;
    lookAtMemory(pid);
  }
}

int main(int argc, char** argv) {
  struct stat own;
  if (argc != 5 || stat("/proc/self/exe", &own) < 0) return 1;
  ownDevice = own.st_dev;
  marker = argv[2];
  snprintf(secret, sizeof(secret), "%s", argv[3]);
  for (char* c = secret; *c != '\0'; ++c)
    *c = *c == '+' ? ' ' : *c;
  allowed = strtoull(argv[4], NULL, 16);
  char self[16];
  snprintf(self, sizeof(self), "%d", getpid());
  report(argv[1]);
  for (;;) {
    DIR* proc = opendir("/proc");
    struct dirent* entry;
    unsigned long before = seen;
    while ((entry = readdir(proc)) != NULL) {
      if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || strcmp(entry->d_name, self) == 0) {
        continue;
      }
      look(entry->d_name);
    }
    closedir(proc);
    if (seen != before) report(argv[1]);
  }
}
