// The terminal sizes that a client sends on its resize stream.
#pragma once

#include <kj/common.h>
#include <kj/function.h>
#include <stdint.h>

#include <string>

namespace belay::criapi::streaming {

// JSON objects {"Width":80,"Height":24}, one after the other, with or without white space between;
// in any pieces. What is no such object is passed over: a terminal of the wrong size is no reason
// to end somebody's shell.
class ResizeParser {
 public:
  // Columns and rows of each size; sizes with a zero are "not given" and left out.
  using OnSize = kj::FunctionParam<void(uint16_t columns, uint16_t rows)>;
  void feed(kj::ArrayPtr<const kj::byte> bytes, OnSize onSize);

 private:
  // Real ones have some 30.
  static constexpr size_t MAX_OBJECT_BYTES = 1024;

  std::string object;
  bool inside = false;
  bool tooLong = false;
};

}  // namespace belay::criapi::streaming
