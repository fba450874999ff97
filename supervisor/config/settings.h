// The one table of all settings: where each stands in a file, which flag sets it, what it may be.
// Files, flags and `config dump` all go by it.
#pragma once

#include <kj/array.h>
#include <kj/one-of.h>
#include <kj/string.h>

#include <variant>

#include "supervisor/config/config.h"

namespace belay::supervisor {

// What a setting may hold beyond its type.
enum class Rule {
  NONE,
  PATH,           // absolute, without "." or ".."; a trailing slash is taken off
  OPTIONAL_PATH,  // the same, or empty
  LISTEN,         // "unix://" and a path
  NAME,           // letters, digits, '.', '-', '_'; may hold "/" between them
  ADDRESS,        // an IP address and a port: "127.0.0.1:0", "[::1]:10010"
  POSITIVE,
};

struct Setting {
  kj::StringPtr section;  // "" is the top of the file
  kj::StringPtr key;
  kj::StringPtr flag;  // without "--"; "" when only files set it
  kj::StringPtr help;  // one line
  Rule rule;
  std::variant<kj::String Config::*, kj::Array<kj::String> Config::*, bool Config::*,
               uint32_t Config::*, uint64_t Config::*, kj::Duration Config::*, LogLevel Config::*,
               CgroupDriver Config::*>
      member;

  // "cni.conf_dir".
  kj::String name() const;
};

kj::ArrayPtr<const Setting> allSettings();

// The setting of a file's key, if there is one.
kj::Maybe<const Setting&> findSetting(kj::StringPtr section, kj::StringPtr key);

// A value as a file or flag gives it. Durations are numbers of seconds.
using SettingValue = kj::OneOf<kj::String, int64_t, bool, kj::Array<kj::String>>;

// Puts the value into its place. What is wrong with it, as the end of a sentence that begins with
// the setting's name; nothing when it is fine.
kj::Maybe<kj::String> apply(Config& config, const Setting& setting, SettingValue value);

// The value of a flag's text, by the setting's type.
kj::OneOf<SettingValue, kj::String> parseFlag(const Setting& setting,
                                              kj::ArrayPtr<const kj::String> texts);

// The value as TOML.
kj::String render(const Config& config, const Setting& setting);

// A string as a TOML basic string, quotes included.
kj::String quoted(kj::StringPtr text);

}  // namespace belay::supervisor
