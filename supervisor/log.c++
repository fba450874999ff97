// See log.h.
#include "supervisor/log.h"

#include <kj/debug.h>
#include <kj/vector.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

namespace belay::supervisor {

namespace {

LogLevel threshold = LogLevel::INFO;

// RFC 3339 with microseconds, UTC.
kj::String now() {
  timespec time;
  clock_gettime(CLOCK_REALTIME, &time);
  tm parts;
  gmtime_r(&time.tv_sec, &parts);
  char text[40];
  size_t size = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(text + size, sizeof(text) - size, ".%06ldZ", time.tv_nsec / 1000);
  return kj::str(static_cast<const char*>(text));
}

void addEscaped(kj::Vector<char>& out, kj::StringPtr text, bool inQuotes) {
  for (char c : text) {
    if (c == '\n') {
      out.addAll(kj::StringPtr("\\n"));
    } else if (inQuotes && (c == '"' || c == '\\')) {
      out.add('\\');
      out.add(c);
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out.add('?');
    } else {
      out.add(c);
    }
  }
}

kj::String escaped(kj::StringPtr text, bool inQuotes) {
  kj::Vector<char> out(text.size() + 1);
  addEscaped(out, text, inQuotes);
  out.add('\0');
  return kj::String(out.releaseAsArray());
}

LogLevel levelOf(kj::LogSeverity severity) {
  switch (severity) {
    case kj::LogSeverity::INFO:
      return LogLevel::DEBUG;  // KJ's own chatter: "returning failure over rpc"
    case kj::LogSeverity::WARNING:
      return LogLevel::WARNING;
    case kj::LogSeverity::DBG:
      return LogLevel::DEBUG;
    case kj::LogSeverity::ERROR:
    case kj::LogSeverity::FATAL:
      break;
  }
  return LogLevel::ERROR;
}

}  // namespace

void setLogLevel(LogLevel level) {
  threshold = level;
  kj::_::Debug::setLogLevel(level >= LogLevel::INFO ? kj::LogSeverity::INFO
                                                    : kj::LogSeverity::WARNING);
}

kj::String quoteForLog(kj::StringPtr value) {
  bool plain = value.size() > 0;
  for (char c : value) {
    if (c <= ' ' || c == '"' || c == '=' || c == 0x7f) plain = false;
  }
  if (plain) return kj::str(value);
  return kj::str('"', escaped(value, true), '"');
}

void writeLog(LogLevel level, kj::StringPtr message, kj::ArrayPtr<const kj::String> fields) {
  if (level > threshold) return;
  auto line = kj::str(now(), ' ', nameOf(level), ' ', escaped(message, false),
                      fields.size() > 0 ? " " : "", kj::delimited(fields, " "), '\n');
  // One write, so that lines of several threads or processes do not mix. A log that cannot be
  // written is no reason to stop.
  [[maybe_unused]] ssize_t ignored = write(STDERR_FILENO, line.begin(), line.size());
}

void LogCapture::logMessage(kj::LogSeverity severity, const char* file, int line, int,
                            kj::String&& text) {
  // KJ ends its messages with a line break.
  kj::StringPtr message = text;
  auto trimmed =
      message.endsWith("\n") ? kj::str(message.slice(0, message.size() - 1)) : kj::mv(text);
  log(levelOf(severity), trimmed, "at", kj::str(file, ':', line));
}

}  // namespace belay::supervisor
