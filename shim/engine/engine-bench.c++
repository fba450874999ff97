// Times the engine's steps, to be compared with what the kernel itself costs: a tool for people,
// not a test. Run as root; an argument is the number of rounds.
#include <kj/debug.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "shim/engine/engine-test-fixture.h"

namespace belay::shim {
namespace {

double nowMs() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

class EngineBench : public EngineTest {
 protected:
  ~EngineBench() noexcept override {}

  std::map<std::string, std::vector<double>> times;

  template <typename Function>
  auto timed(const char* step, Function&& function) {
    double start = nowMs();
    KJ_DEFER(times[step].push_back(nowMs() - start));
    return function();
  }

  void print() {
    for (auto& [step, values] : times) {
      std::sort(values.begin(), values.end());
      printf("%-28s p50 %7.3f ms   p99 %7.3f ms\n", step.c_str(), values[values.size() / 2],
             values[values.size() * 99 / 100]);
    }
  }
};

TEST_F(EngineBench, ContainerAndExec) {
  hardenEngineProcess();
  const char* variable = getenv("BENCH_ROUNDS");
  const char* gap = getenv("BENCH_GAP_MS");
  int rounds = variable == nullptr ? 100 : atoi(variable);
  setCommand(containerSpec().getProcess(), {"sleep"_kj, "1000"_kj});
  makePod();
  for (int i = 0; i < rounds; ++i) {
    if (gap != nullptr) context.timer.afterDelay(atoi(gap) * kj::MILLISECONDS).wait(wait);
    containerSpec().setCgroupPath(kj::str(podSpec().getCgroupPath(), "/c", i));
    timed("1 cgroup", [&] {
      cgroup = Cgroup::create(hierarchies, containerSpec().getCgroupPath());
      cgroup->limit(containerSpec().getResources());
      cgroup->limitDevices(containerSpec().getDevices(), false);
    });
    auto prepared = timed("2 prepareContainer", [&] { return prepareWell(); });
    timed("3 releaseGate",
          [&] { KJ_ASSERT(releaseGate(context, prepared).wait(wait) == nullptr); });
    for (int j = 0; j < 3; ++j) {
      auto process = execSpec("");
      setCommand(process, {"/bin/busybox"_kj, "true"_kj});
      if (gap != nullptr) context.timer.afterDelay(atoi(gap) * kj::MILLISECONDS).wait(wait);
      double start = nowMs();
      auto own = timed("4 exec cgroup", [&] { return cgroup->createChild("exec"); });
      auto entered =
          timed("5 enterContainer", [&] { return enter(process, prepared.pidfd, *own); });
      KJ_REQUIRE(entered.is<Entered>(), entered.get<FailureValue>().message);
      waitFor(entered.get<Entered>().pidfd);
      times["6 exec, whole"].push_back(nowMs() - start);
      own->whenEmpty(context).wait(wait);
      own->remove();
    }
    timed("7 kill, until empty", [&] {
      cgroup->kill();
      waitFor(prepared.pidfd);
      cgroup->whenEmpty(context).wait(wait);
    });
    timed("8 remove cgroup", [&] { cgroup->remove(); });
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
  print();
}

}  // namespace
}  // namespace belay::shim
