// See failpoint.h.
#include "failpoint/failpoint.h"

#include <errno.h>
#include <kj/debug.h>
#include <kj/map.h>
#include <kj/vector.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Made by the linker for a section whose name is an identifier; absent in a program without points.
extern "C" {
[[gnu::weak, gnu::visibility("hidden")]] extern belay::failpoint::Point __start_belay_failpoints[];
[[gnu::weak, gnu::visibility("hidden")]] extern belay::failpoint::Point __stop_belay_failpoints[];
}

namespace belay::failpoint {

namespace {

constexpr const char* VARIABLE = "BELAY_FAILPOINTS";

// What the fields of one setting are.
struct Setting {
  Point::Action action = Point::Action::NONE;
  uint32_t delayMs = 0;
  uint32_t skip = 0;
  uint32_t times = 1;
};

// The number after the last `mark`, which it is taken away with; 1 without one.
kj::Maybe<uint32_t> takeNumber(kj::String& text, char mark) {
  KJ_IF_MAYBE (at, text.findFirst(mark)) {
    auto number = kj::heapString(text.slice(*at + 1)).tryParseAs<uint32_t>();
    text = kj::heapString(text.slice(0, *at));
    return number;
  }
  return uint32_t(1);
}

kj::Maybe<Setting> parse(kj::StringPtr words) {
  Setting setting;
  auto text = kj::str(words);
  KJ_IF_MAYBE (pass, takeNumber(text, '@')) {
    if (*pass == 0) return nullptr;
    setting.skip = *pass - 1;
  } else {
    return nullptr;
  }
  KJ_IF_MAYBE (times, takeNumber(text, '*')) {
    if (*times == 0) return nullptr;
    setting.times = *times;
  } else {
    return nullptr;
  }
  constexpr auto DELAY = "delay:"_kj;
  if (text == "off") return setting;
  if (text == "kill") {
    setting.action = Point::Action::KILL;
  } else if (text == "fail") {
    setting.action = Point::Action::FAIL;
  } else if (text.startsWith(DELAY)) {
    setting.action = Point::Action::DELAY;
    KJ_IF_MAYBE (ms, text.slice(DELAY.size()).tryParseAs<uint32_t>()) {
      setting.delayMs = *ms;
    } else {
      return nullptr;
    }
  } else {
    return nullptr;
  }
  return setting;
}

kj::String badAction(kj::StringPtr name, kj::StringPtr action) {
  return kj::str(
      "failpoint ", name, ": '", action,
      "' is no action; there are off, kill, fail and delay:MILLISECONDS, with *TIMES and "
      "@PASS after them");
}

// By name, for programs that this one starts.
kj::TreeMap<kj::String, kj::String>& forChildren() {
  static kj::TreeMap<kj::String, kj::String> settings;
  return settings;
}

kj::ArrayPtr<Point> section() {
  return kj::arrayPtr(__start_belay_failpoints, __stop_belay_failpoints);
}

kj::String describe(const Point& point) {
  if (point.action == Point::Action::NONE) return kj::str("off");
  if (!point.isArmed()) return kj::str("done");
  auto word = point.action == Point::Action::KILL   ? kj::str("kill")
              : point.action == Point::Action::FAIL ? kj::str("fail")
                                                    : kj::str("delay:", point.delayMs);
  auto times = point.times == 1 ? kj::String() : kj::str('*', point.times);
  auto skip = point.skip == 0 ? kj::String() : kj::str('@', point.skip + 1);
  return kj::str(word, times, skip);
}

template <typename Each>
void forEachSetting(kj::StringPtr list, Each&& each) {
  while (list.size() > 0) {
    size_t end = list.findFirst(';').orDefault(list.size());
    auto one = kj::heapString(list.slice(0, end));
    list = end == list.size() ? ""_kj : list.slice(end + 1);
    if (one.size() == 0) continue;
    size_t middle = KJ_REQUIRE_NONNULL(one.findFirst('='),
                                       "BELAY_FAILPOINTS wants NAME=ACTION;NAME=ACTION", one);
    each(kj::heapString(one.slice(0, middle)), kj::heapString(one.slice(middle + 1)));
  }
}

}  // namespace

Point::Action Point::takePass() {
  ++passes;
  if (skip > 0) {
    --skip;
    return Action::NONE;
  }
  KJ_LOG(WARNING, "a failpoint acts", name, describe(*this));
  if (--times == 0) armed.store(false, std::memory_order_relaxed);
  return action;
}

void Point::killOrFail(Action taken) {
  if (taken == Action::KILL) {
    kill(getpid(), SIGKILL);
    _exit(128 + SIGKILL);  // a filter of system calls refused it
  }
  if (taken == Action::FAIL) {
    kj::throwFatalException(
        kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__,
                      kj::str("failpoint ", name, " failed, as it was told to")));
  }
}

void Point::strike() {
  auto taken = takePass();
  if (taken == Action::DELAY) {
    timespec pause{time_t(delayMs / 1000), long(delayMs % 1000) * 1'000'000};
    while (nanosleep(&pause, &pause) < 0 && errno == EINTR) {
    }
  }
  killOrFail(taken);
}

kj::Promise<void> Point::strike(kj::Timer& timer) {
  auto taken = takePass();
  if (taken == Action::DELAY) co_await timer.afterDelay(delayMs * kj::MILLISECONDS);
  killOrFail(taken);
}

kj::Maybe<kj::String> set(kj::StringPtr name, kj::StringPtr action) {
  auto parsed = parse(action);
  if (parsed == nullptr) return badAction(name, action);
  auto& setting = KJ_ASSERT_NONNULL(parsed);
  bool found = false;
  // A name may stand at several places.
  for (auto& point : section()) {
    if (name != point.name) continue;
    found = true;
    point.action = setting.action;
    point.delayMs = setting.delayMs;
    point.skip = setting.skip;
    point.times = setting.times;
    point.passes = 0;
    point.armed.store(setting.action != Point::Action::NONE, std::memory_order_relaxed);
  }
  if (found) return nullptr;
  return kj::str("there is no failpoint ", name,
                 " in this program; belayctl debug failpoints lists "
                 "them");
}

kj::Array<Listed> list() {
  kj::Vector<Listed> points;
  kj::TreeMap<kj::StringPtr, const Point*> byName;
  for (auto& point : section())
    byName.upsert(point.name, &point);
  for (auto& entry : byName)
    points.add(Listed{kj::str(entry.key), describe(*entry.value), entry.value->passes});
  for (auto& entry : forChildren())
    points.add(Listed{kj::str(entry.key), kj::str(entry.value), 0});
  return points.releaseAsArray();
}

void readEnvironment(kj::StringPtr own) {
  const char* list = getenv(VARIABLE);
  if (list == nullptr) return;
  forEachSetting(list, [&](kj::StringPtr name, kj::StringPtr action) {
    auto fault = name.startsWith(own) ? set(name, action) : setForChildren(name, action);
    KJ_IF_MAYBE (sentence, fault) {
      KJ_FAIL_REQUIRE("BELAY_FAILPOINTS cannot be followed", *sentence);
    }
  });
}

kj::Maybe<kj::String> setForChildren(kj::StringPtr name, kj::StringPtr action) {
  if (parse(action) == nullptr) return badAction(name, action);
  if (action == "off") {
    forChildren().erase(name);
  } else {
    forChildren().upsert(kj::str(name), kj::str(action));
  }
  return nullptr;
}

kj::Maybe<kj::String> environmentFor(kj::StringPtr prefix) {
  kj::Vector<kj::String> settings;
  for (auto& entry : forChildren()) {
    if (entry.key.startsWith(prefix)) settings.add(kj::str(entry.key, '=', entry.value));
  }
  if (settings.size() == 0) return nullptr;
  return kj::str(VARIABLE, '=', kj::strArray(settings, ";"));
}

}  // namespace belay::failpoint
