// See systemd-scope.h. The calls are those of org.freedesktop.systemd1(5).
#include "supervisor/systemd-scope.h"

#include <errno.h>
#include <kj/debug.h>
#include <kj/vector.h>
#include <stdint.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "snapshot/failure.h"

namespace belay::supervisor {

namespace {

using snapshot::Code;
using snapshot::fail;

constexpr const char* SERVICE = "org.freedesktop.systemd1";
constexpr const char* PATH = "/org/freedesktop/systemd1";
constexpr const char* MANAGER = "org.freedesktop.systemd1.Manager";

uint64_t monotonicUs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000ull + now.tv_nsec / 1000;
}

// One connection to the system bus, for one request: it is closed with whatever is in flight.
class SystemBus {
 public:
  explicit SystemBus(uint64_t deadlineUs) : deadline(deadlineUs) {
    int error = sd_bus_open_system(&bus);
    if (error < 0) {
      fail(Code::UNAVAILABLE, "the system bus, by which systemd is asked for cgroups, cannot be ",
           "reached: ", strerror(-error), " (is dbus.socket active?)");
    }
    sd_bus_set_method_call_timeout(bus, left());
  }
  ~SystemBus() noexcept {
    sd_bus_slot_unref(slot);
    sd_bus_flush_close_unref(bus);
  }
  KJ_DISALLOW_COPY_AND_MOVE(SystemBus);

  // From now on finished jobs are told of. Before the job is asked for, or its end may be missed.
  void subscribe() {
    check("watch its jobs", sd_bus_match_signal(bus, &slot, SERVICE, PATH, MANAGER, "JobRemoved",
                                                &SystemBus::jobRemoved, this));
    sd_bus_error error = SD_BUS_ERROR_NULL;
    KJ_DEFER(sd_bus_error_free(&error));
    int result = sd_bus_call_method(bus, SERVICE, PATH, MANAGER, "Subscribe", &error, nullptr, "");
    check("watch its jobs", result, &error);
  }

  // Asks for the scope; the job's object path.
  kj::String startTransientScope(const ScopeRequest& request) {
    sd_bus_message* message = nullptr;
    KJ_DEFER(sd_bus_message_unref(message));
    check("make a scope", sd_bus_message_new_method_call(bus, &message, SERVICE, PATH, MANAGER,
                                                         "StartTransientUnit"));
    // "fail": a unit of this name that is there already is a mistake.
    check("make a scope", sd_bus_message_append(message, "ss", request.name.cStr(), "fail"));
    check("make a scope", sd_bus_message_open_container(message, 'a', "(sv)"));
    appendProperties(message, request);
    check("make a scope", sd_bus_message_close_container(message));
    check("make a scope", sd_bus_message_append(message, "a(sa(sv))", 0));

    sd_bus_message* reply = nullptr;
    KJ_DEFER(sd_bus_message_unref(reply));
    sd_bus_error error = SD_BUS_ERROR_NULL;
    KJ_DEFER(sd_bus_error_free(&error));
    check("make a scope", sd_bus_call(bus, message, 0, &error, &reply), &error);
    const char* job;
    check("make a scope", sd_bus_message_read(reply, "o", &job));
    return kj::str(job);
  }

  // The job's result: "done", "failed", "timeout", "dependency" and others.
  kj::String awaitJob(kj::String job) {
    awaited = kj::mv(job);
    // It may have ended before its name was known here.
    for (auto& one : ended) {
      if (one.job == awaited) result = kj::str(one.result);
    }
    while (result == nullptr) {
      int progress = sd_bus_process(bus, nullptr);
      check("wait for its job", progress);
      if (progress == 0 && result == nullptr) {
        check("wait for its job", sd_bus_wait(bus, left()));
      }
    }
    return kj::mv(KJ_ASSERT_NONNULL(result));
  }

 private:
  struct Ended {
    kj::String job, result;
  };

  uint64_t deadline;
  sd_bus* bus = nullptr;
  sd_bus_slot* slot = nullptr;
  kj::String awaited;
  kj::Vector<Ended> ended;
  kj::Maybe<kj::String> result;

  uint64_t left() const {
    auto now = monotonicUs();
    if (now >= deadline) fail(Code::DEADLINE_EXCEEDED, "systemd did not make the scope in time");
    return deadline - now;
  }

  // Throws what a negative errno and D-Bus's own words say.
  static void check(kj::StringPtr step, int error, const sd_bus_error* said = nullptr) {
    if (error >= 0) return;
    bool hasWords = said != nullptr && said->message != nullptr;
    bool late = error == -ETIMEDOUT;
    bool gone = error == -ENOTCONN || error == -ECONNRESET || error == -EHOSTUNREACH;
    fail(late   ? Code::DEADLINE_EXCEEDED
         : gone ? Code::UNAVAILABLE
                : Code::INTERNAL,
         "systemd did not ", step, ": ", hasWords ? said->message : strerror(-error));
  }

  static int jobRemoved(sd_bus_message* message, void* self, sd_bus_error*) {
    uint32_t id;
    const char *job, *unit, *result;
    if (sd_bus_message_read(message, "uoss", &id, &job, &unit, &result) < 0) return 0;
    auto& bus = *static_cast<SystemBus*>(self);
    if (bus.awaited == nullptr) {
      bus.ended.add(Ended{kj::str(job), kj::str(result)});
    } else if (bus.awaited == job) {
      bus.result = kj::str(result);
    }
    return 0;
  }

  static void appendProperties(sd_bus_message* to, const ScopeRequest& request) {
    auto check = [&](int error) { SystemBus::check("make a scope", error); };
    check(sd_bus_message_append(to, "(sv)", "Description", "s", request.description.cStr()));
    check(sd_bus_message_append(to, "(sv)", "Slice", "s", request.slice.cStr()));
    check(sd_bus_message_append(to, "(sv)", "PIDs", "au", 1, uint32_t(request.process)));
    check(sd_bus_message_append(to, "(sv)", "Delegate", "b", 1));
    // Pods end when somebody stops them, not when the machine begins to shut down: the kubelet
    // gives them their grace then.
    check(sd_bus_message_append(to, "(sv)", "DefaultDependencies", "b", 0));
    check(sd_bus_message_append(to, "(sv)", "CollectMode", "s", "inactive-or-failed"));
    // The limits are those of the slice and of the containers; systemd has a default for this one.
    check(sd_bus_message_append(to, "(sv)", "TasksMax", "t", UINT64_MAX));
    for (auto accounting : {"CPUAccounting", "MemoryAccounting", "TasksAccounting", "IOAccounting"})
      check(sd_bus_message_append(to, "(sv)", accounting, "b", 1));
  }
};

}  // namespace

bool systemdRunsThisMachine() {
  return sd_booted() > 0;
}

void startScope(const ScopeRequest& request, kj::Duration limit) {
  SystemBus bus(monotonicUs() + limit / kj::MICROSECONDS);
  bus.subscribe();
  auto result = bus.awaitJob(bus.startTransientScope(request));
  if (result != "done") {
    fail(Code::INTERNAL, "systemd did not start ", request.name, " in ", request.slice,
         ": its job ended with \"", result, "\" (journalctl -u ", request.name, " may say more)");
  }
}

}  // namespace belay::supervisor
