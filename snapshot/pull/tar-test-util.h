// Builds tar archives for tests, the wrong ones too.
#pragma once

#include <stdio.h>
#include <string.h>

#include <string>

namespace belay::snapshot {

// One header block; fields may be spoilt before seal() makes the checksum.
class TestHeader {
 public:
  TestHeader(char type, const std::string& name, size_t size = 0) : block(512, '\0') {
    put(0, name.substr(0, 100));
    octal(100, 8, 0644);
    octal(108, 8, 0);
    octal(116, 8, 0);
    octal(124, 12, size);
    octal(136, 12, 1'700'000'000);
    block[156] = type;
    put(257, std::string("ustar\0"
                         "00",
                         8));
  }
  TestHeader& put(size_t offset, const std::string& bytes) {
    block.replace(offset, bytes.size(), bytes);
    return *this;
  }
  TestHeader& octal(size_t offset, size_t length, unsigned long value) {
    char text[32];
    snprintf(text, sizeof(text), "%0*lo", static_cast<int>(length - 1), value);
    return put(offset, std::string(text, length));
  }
  TestHeader& mode(unsigned value) { return octal(100, 8, value); }
  TestHeader& owner(unsigned uid, unsigned gid) { return octal(108, 8, uid).octal(116, 8, gid); }
  TestHeader& link(const std::string& target) { return put(157, target.substr(0, 100)); }
  TestHeader& device(unsigned major, unsigned minor) {
    return octal(329, 8, major).octal(337, 8, minor);
  }
  std::string seal() const {
    std::string sealed = block;
    sealed.replace(148, 8, "        ");
    unsigned sum = 0;
    for (unsigned char c : sealed)
      sum += c;
    char text[9];
    snprintf(text, sizeof(text), "%06o", sum);
    sealed.replace(148, 7, std::string(text, 7));
    return sealed;
  }

 private:
  std::string block;
};

inline std::string padded(std::string bytes) {
  bytes.resize((bytes.size() + 511) / 512 * 512, '\0');
  return bytes;
}

inline std::string tarFile(const std::string& name, const std::string& content,
                           unsigned mode = 0644) {
  return TestHeader('0', name, content.size()).mode(mode).seal() + padded(content);
}

inline std::string tarFolder(const std::string& name, unsigned mode = 0755) {
  return TestHeader('5', name).mode(mode).seal();
}

inline std::string tarLink(char type, const std::string& name, const std::string& target) {
  return TestHeader(type, name).link(target).seal();
}

// "LENGTH KEY=VALUE\n", the length counting itself.
inline std::string paxRecord(const std::string& key, const std::string& value) {
  size_t rest = key.size() + value.size() + 3;
  size_t length = rest + 1;
  while (std::to_string(length).size() + rest != length)
    ++length;
  return std::to_string(length) + " " + key + "=" + value + "\n";
}

inline std::string tarPax(const std::string& records) {
  return TestHeader('x', "pax", records.size()).seal() + padded(records);
}

inline std::string tarEnd() {
  return std::string(1024, '\0');
}

}  // namespace belay::snapshot
