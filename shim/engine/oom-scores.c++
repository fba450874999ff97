// oom_score_adj of the processes of a cgroup that runs.
#include "shim/engine/oom-scores.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <stdlib.h>
#include <string.h>

#include "shim/engine/cgroup.h"
#include "shim/engine/text-file.h"

namespace belay::shim {
namespace {

constexpr kj::StringPtr FILE_NAME = "oom_score_adj"_kj;

// A child has its parent's value, so that a round finds only what was forked from those that the
// round before had not reached yet. A cgroup that still has some after so many is left to them.
constexpr int MAX_ROUNDS = 16;
constexpr size_t MAX_PROCESSES = 1 << 16;

// Whether the text of /proc/PID/cgroup names the cgroup or one below it.
bool names(kj::StringPtr text, kj::StringPtr path) {
  for (size_t at = 0; at < text.size();) {
    kj::StringPtr line = text.slice(at);
    size_t end = line.findFirst('\n').orDefault(line.size());
    // "5:memory:/path"
    const char* second = strchr(line.cStr(), ':');
    second = second == nullptr ? nullptr : strchr(second + 1, ':');
    if (second != nullptr && second < line.begin() + end) {
      kj::StringPtr rest = line.slice(second + 1 - line.begin());
      char after = rest.size() > path.size() ? rest[path.size()] : '\n';
      if (rest.startsWith(path) && (after == '/' || after == '\n')) return true;
    }
    at += end + 1;
  }
  return false;
}

bool hasEnded(int error) {
  return error == ENOENT || error == ESRCH;
}

class Scores {
 public:
  explicit Scores(const Cgroup& cgroup) : cgroup(cgroup) {}

  ~Scores() noexcept(false) {
    for (auto& one : changed) {
      KJ_IF_MAYBE (process, find(one.pid)) {
        int error = tryWriteTextFile(*process, FILE_NAME, one.former);
        if (error != 0 && !hasEnded(error)) {
          KJ_LOG(ERROR, "cannot put a process's oom_score_adj back", one.pid, strerror(error));
        }
      }
    }
  }

  // False if all had it already.
  bool setAll(kj::StringPtr score) {
    bool any = false;
    for (auto pid : cgroup.pids(MAX_PROCESSES))
      any = set(pid, score) || any;
    return any;
  }

  void keep() { changed.clear(); }

 private:
  struct Changed {
    pid_t pid;
    kj::String former;
  };

  const Cgroup& cgroup;
  kj::Vector<Changed> changed;

  // The process's folder in /proc, which goes on meaning that process alone; null if the number is
  // another process's by now.
  kj::Maybe<kj::AutoCloseFd> find(pid_t pid) {
    int fd = open(kj::str("/proc/", pid).cStr(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return nullptr;
    kj::AutoCloseFd process(fd);
    kj::String text;
    if (tryReadTextFile(process, "cgroup", text) != 0) return nullptr;
    if (!names(text, cgroup.getPath())) return nullptr;
    return kj::mv(process);
  }

  bool set(pid_t pid, kj::StringPtr score) {
    KJ_IF_MAYBE (process, find(pid)) {
      kj::String former;
      int error = tryReadTextFile(*process, FILE_NAME, former);
      if (error == 0 && former == score) return false;
      if (error == 0) error = tryWriteTextFile(*process, FILE_NAME, score);
      if (hasEnded(error)) return false;
      if (error != 0) {
        kj::throwFatalException(KJ_EXCEPTION(
            FAILED, kj::str("the kernel does not take ", atoi(score.cStr()),
                            " for oom_score_adj of process ", pid, ": ", strerror(error))));
      }
      changed.add(Changed{pid, kj::mv(former)});
      return true;
    }
    return false;
  }
};

}  // namespace

void changeOomScores(const Cgroup& cgroup, int32_t score) {
  // As the kernel shows it, so that the two can be compared.
  auto text = kj::str(score, "\n");
  Scores scores(cgroup);
  for (int round = 0; round < MAX_ROUNDS && scores.setAll(text); ++round) {
  }
  scores.keep();
}

}  // namespace belay::shim
