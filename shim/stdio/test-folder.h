// A fresh folder for a test, removed with what is in it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/io.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace belay::shim {

class TestFolder {
 public:
  TestFolder() : path(::testing::TempDir() + "/folder-XXXXXX") {
    KJ_REQUIRE(mkdtemp(path.data()) != nullptr);
    int fd;
    KJ_SYSCALL(fd = open(path.c_str(), O_DIRECTORY | O_CLOEXEC));
    own = kj::AutoCloseFd(fd);
  }
  ~TestFolder() { std::filesystem::remove_all(path); }
  KJ_DISALLOW_COPY_AND_MOVE(TestFolder);

  int fd() const { return own; }
  std::string at(const std::string& name) const { return path + "/" + name; }

  std::string read(const std::string& name) const {
    std::ifstream file(at(name));
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

 private:
  std::string path;
  kj::AutoCloseFd own;
};

}  // namespace belay::shim
