// See challenge.h.
#include "snapshot/pull/challenge.h"

#include <ctype.h>
#include <string.h>

namespace belay::snapshot {

namespace {

// RFC 9110, "token", and the characters of "token68" besides.
bool isTokenChar(char c) {
  return isalnum(static_cast<unsigned char>(c)) || (c != '\0' && strchr("!#$%&'*+-.^_`|~/", c));
}

class Cursor {
 public:
  explicit Cursor(kj::StringPtr text) : text(text) {}

  void skipBlanks() {
    while (peek() == ' ' || peek() == '\t')
      ++at;
  }
  void skipBlanksAndCommas() {
    while (peek() == ' ' || peek() == '\t' || peek() == ',')
      ++at;
  }
  bool take(char c) {
    if (peek() != c) return false;
    ++at;
    return true;
  }
  kj::String token() {
    size_t begin = at;
    while (isTokenChar(peek()))
      ++at;
    return kj::heapString(text.slice(begin, at));
  }
  // The rest of a quoted string whose opening quote has been taken.
  kj::String quoted() {
    kj::Vector<char> value;
    while (peek() != '\0' && peek() != '"') {
      if (peek() == '\\' && at + 1 < text.size()) ++at;
      value.add(text[at++]);
    }
    take('"');
    return kj::heapString(value.asPtr());
  }
  char peek() const { return at < text.size() ? text[at] : '\0'; }
  size_t position() const { return at; }
  void goBack(size_t position) { at = position; }

 private:
  kj::StringPtr text;
  size_t at = 0;
};

kj::String lowered(kj::String text) {
  for (char& c : text.asArray().slice(0, text.size()))
    c = tolower(static_cast<unsigned char>(c));
  return text;
}

// Reads "name = value" parameters until the next challenge's scheme or the end.
void parseParameters(Cursor& cursor, Challenge& challenge) {
  for (;;) {
    cursor.skipBlanksAndCommas();
    size_t before = cursor.position();
    kj::String name = lowered(cursor.token());
    cursor.skipBlanks();
    if (name == "" || !cursor.take('=')) {
      cursor.goBack(before);
      return;
    }
    cursor.skipBlanks();
    kj::String value = cursor.take('"') ? cursor.quoted() : cursor.token();
    challenge.parameters.upsert(kj::mv(name), kj::mv(value), [](kj::String&, kj::String&&) {});
  }
}

}  // namespace

kj::StringPtr Challenge::parameter(kj::StringPtr name) const {
  KJ_IF_MAYBE (value, parameters.find(name)) {
    return *value;
  }
  return "";
}

kj::Vector<Challenge> parseChallenges(kj::StringPtr value) {
  kj::Vector<Challenge> challenges;
  Cursor cursor(value);
  for (;;) {
    cursor.skipBlanksAndCommas();
    Challenge challenge;
    challenge.scheme = lowered(cursor.token());
    if (challenge.scheme == "") return challenges;
    parseParameters(cursor, challenge);
    challenges.add(kj::mv(challenge));
  }
}

}  // namespace belay::snapshot
