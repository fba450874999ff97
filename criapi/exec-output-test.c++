// Tests for a command's output on its way into a reply.
#include "criapi/exec-output.h"

#include <gtest/gtest.h>

#include "criapi/testing.h"

namespace belay::criapi {
namespace {

runtime::v1::ExecSyncResponse reply(kj::StringPtr output, kj::StringPtr errors, size_t limit) {
  supervisor::ExecResult result{0, fileOf(output), fileOf(errors)};
  runtime::v1::ExecSyncResponse response;
  readExecOutput(result, response, limit);
  return response;
}

TEST(ExecOutput, WhatFitsIsWhole) {
  auto response = reply("out", "error", 8);
  EXPECT_EQ(response.stdout(), "out");
  EXPECT_EQ(response.stderr(), "error");
}

TEST(ExecOutput, EachGetsWhatTheOtherLeaves) {
  EXPECT_EQ(reply("0123456789", "", 8).stdout(), "01234567");
  EXPECT_EQ(reply("", "0123456789", 8).stderr(), "01234567");
  EXPECT_EQ(reply("0123456789", "ab", 8).stdout(), "012345");
  EXPECT_EQ(reply("0123456789", "ab", 8).stderr(), "ab");
}

TEST(ExecOutput, BothTooLongGetHalfEach) {
  auto response = reply("0123456789", "abcdefghij", 8);
  EXPECT_EQ(response.stdout(), "0123");
  EXPECT_EQ(response.stderr(), "abcd");
}

TEST(ExecOutput, TheLargestReplyIsOneThatClientsAccept) {
  auto much = kj::heapString(16 * 1024 * 1024);
  memset(much.begin(), 'x', much.size());
  auto response = reply(much, much, MAX_EXEC_OUTPUT_BYTES);
  response.set_exit_code(-1);
  EXPECT_LE(response.ByteSizeLong(), 16 * 1024 * 1024);
  EXPECT_GE(response.ByteSizeLong(), 16 * 1024 * 1024 - 1024);
}

}  // namespace
}  // namespace belay::criapi
