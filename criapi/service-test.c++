// Tests that the table of methods and cri.proto agree.
#include "criapi/service.h"

#include <gtest/gtest.h>

#include <fstream>
#include <regex>

#include "criapi/testing.h"

namespace belay::criapi {
namespace {

struct Method {
  std::string path;
  bool streams;
};

// The RPCs of the contract's text.
std::vector<Method> methodsOfContract() {
  std::ifstream file("criapi/cri.proto");
  std::regex service("^service (\\w+) \\{");
  std::regex rpc("^  rpc (\\w+)\\(\\w+\\) returns \\((stream )?\\w+\\).*");
  std::vector<Method> methods;
  std::string serviceName;
  std::smatch match;
  for (std::string line; std::getline(file, line);) {
    if (std::regex_search(line, match, service)) serviceName = match[1];
    if (std::regex_search(line, match, rpc)) {
      methods.push_back({"/runtime.v1." + serviceName + "/" + match[1].str(), match[2].matched});
    }
  }
  return methods;
}

TEST(CriService, ServesEveryMethodOfTheContract) {
  kj::EventLoop loop;
  kj::WaitScope waitScope(loop);
  kj::TimerImpl timer(kj::origin<kj::TimePoint>());
  FakeRuntime runtime;
  grpc::Server server(timer);
  FakeUrls urls;
  CriService service(runtime, urls, "1.2.3");
  service.registerOn(server);

  auto methods = methodsOfContract();
  ASSERT_EQ(methods.size(), 43);
  for (auto& method : methods) {
    // A server refuses to serve one method twice.
    auto again = kj::runCatchingExceptions([&]() {
      server.addUnary(method.path.c_str(), [](grpc::Call&, kj::ArrayPtr<const kj::byte>) {
        return kj::Promise<kj::Array<kj::byte>>(nullptr);
      });
    });
    EXPECT_TRUE(again != nullptr) << method.path << " is not served";
  }
}

}  // namespace
}  // namespace belay::criapi
