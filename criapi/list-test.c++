// Tests for lists that do not fail and lists in portions.
#include "criapi/list.h"

#include <gtest/gtest.h>

#include "criapi/cri.pb.h"
#include "criapi/testing.h"

namespace belay::criapi {
namespace {

namespace v1 = runtime::v1;
using Items = google::protobuf::RepeatedPtrField<v1::PodSandbox>;

TEST(AddReadable, LeavesOutWhatCannotBeReported) {
  Items items;
  addReadable(items, [](v1::PodSandbox& item) { item.set_id("a"); });
  addReadable(items, [](v1::PodSandbox& item) {
    item.set_id("broken");
    KJ_FAIL_REQUIRE("the record cannot be read");
  });
  addReadable(items, [](v1::PodSandbox& item) { item.set_id("b"); });
  ASSERT_EQ(items.size(), 2);
  EXPECT_EQ(items[0].id(), "a");
  EXPECT_EQ(items[1].id(), "b");
}

// Takes one message at a time, when the test says so.
struct SlowWriter {
  kj::Vector<v1::StreamPodSandboxesResponse> messages;
  kj::Own<kj::PromiseFulfiller<void>> taken;

  kj::Promise<void> write(const v1::StreamPodSandboxesResponse& message) {
    messages.add(message);
    auto pair = kj::newPromiseAndFulfiller<void>();
    taken = kj::mv(pair.fulfiller);
    return kj::mv(pair.promise);
  }
};

kj::Promise<void> stream(Items items, SlowWriter& writer) {
  return streamPortions<v1::StreamPodSandboxesResponse>(
      kj::mv(items), writer, [](auto& message) { return message.mutable_pod_sandboxes(); });
}

TEST(StreamPortions, NoItemNoMessage) {
  kj::EventLoop loop;
  kj::WaitScope waitScope(loop);
  SlowWriter writer;
  stream({}, writer).wait(waitScope);
  EXPECT_EQ(writer.messages.size(), 0);
}

TEST(StreamPortions, EveryItemComesOnceAndWaitsForTheClient) {
  kj::EventLoop loop;
  kj::WaitScope waitScope(loop);
  Items items;
  for (int i = 0; i < 5; ++i) {
    auto& item = *items.Add();
    item.set_id(std::to_string(i));
    (*item.mutable_labels())["big"] = std::string(STREAM_PORTION_BYTES / 2, 'x');
  }
  SlowWriter writer;
  auto done = stream(kj::mv(items), writer);
  std::string order;
  for (int expected : {2, 2, 1}) {
    ASSERT_FALSE(done.poll(waitScope));
    auto& message = writer.messages.back();
    ASSERT_EQ(message.pod_sandboxes_size(), expected);
    for (auto& item : message.pod_sandboxes()) {
      order += item.id();
    }
    writer.taken->fulfill();
  }
  done.wait(waitScope);
  EXPECT_EQ(order, "01234");
  EXPECT_EQ(writer.messages.size(), 3);
}

}  // namespace
}  // namespace belay::criapi
