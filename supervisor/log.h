// belayd's log: one line per event on stderr, "TIME LEVEL message key=value ...", for journald and
// people with grep.
#pragma once

#include <kj/exception.h>
#include <kj/string.h>
#include <kj/vector.h>

#include "supervisor/config/config.h"

namespace belay::supervisor {

// What is below this level is not written. INFO until it is set.
void setLogLevel(LogLevel level);

// One line. `fields` are "key=value" already; line breaks anywhere are escaped, so that nobody's
// text can pass for another line.
void writeLog(LogLevel level, kj::StringPtr message, kj::ArrayPtr<const kj::String> fields);

// A value as it stands in a log line: quoted when it holds blanks, quotes or nothing at all.
kj::String quoteForLog(kj::StringPtr value);

namespace detail {

inline void addFields(kj::Vector<kj::String>&) {}

template <typename Value, typename... Rest>
void addFields(kj::Vector<kj::String>& fields, kj::StringPtr key, Value&& value, Rest&&... rest) {
  fields.add(kj::str(key, '=', quoteForLog(kj::str(kj::fwd<Value>(value)))));
  addFields(fields, kj::fwd<Rest>(rest)...);
}

}  // namespace detail

// log(LogLevel::INFO, "pod is ready", "pod", id, "ip", ip);
template <typename... Pairs>
void log(LogLevel level, kj::StringPtr message, Pairs&&... pairs) {
  kj::Vector<kj::String> fields;
  detail::addFields(fields, kj::fwd<Pairs>(pairs)...);
  writeLog(level, message, fields);
}

// Takes KJ_LOG of all parts of belayd, too, while it lives. Made on main's stack.
class LogCapture final : public kj::ExceptionCallback {
 public:
  void logMessage(kj::LogSeverity severity, const char* file, int line, int contextDepth,
                  kj::String&& text) override;
};

}  // namespace belay::supervisor
