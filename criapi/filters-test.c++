// Tests for the filters of the list calls.
#include "criapi/filters.h"

#include <gtest/gtest.h>

#include "criapi/testing.h"

namespace belay::criapi {
namespace {

namespace v1 = runtime::v1;
using State = supervisor::ContainerView::State;

void label(supervisor::Pair::Builder pair) {
  pair.setKey("app");
  pair.setValue("web");
}

supervisor::PodView labelled() {
  return podView("abcdef", [](auto pod) { label(pod.getConfig().initLabels(1)[0]); });
}

supervisor::ContainerView labelledContainer() {
  return containerView("abcdef", State::EXITED,
                       [](auto record) { label(record.getConfig().initLabels(1)[0]); });
}

TEST(PodFilter, AnEmptyOneLetsEverythingThrough) {
  EXPECT_TRUE(matches(v1::PodSandboxFilter(), labelled()));
}

TEST(PodFilter, IdsMatchByPrefix) {
  v1::PodSandboxFilter filter;
  filter.set_id("abc");
  EXPECT_TRUE(matches(filter, labelled()));
  filter.set_id("abcdef");
  EXPECT_TRUE(matches(filter, labelled()));
  filter.set_id("bcd");
  EXPECT_FALSE(matches(filter, labelled()));
  filter.set_id("abcdef0");
  EXPECT_FALSE(matches(filter, labelled()));
}

TEST(PodFilter, AStateOfReadyIsNotTheSameAsNoState) {
  v1::PodSandboxFilter filter;
  auto pod = labelled();
  pod.ready = false;
  EXPECT_TRUE(matches(filter, pod));
  filter.mutable_state()->set_state(v1::SANDBOX_READY);
  EXPECT_FALSE(matches(filter, pod));
  filter.mutable_state()->set_state(v1::SANDBOX_NOTREADY);
  EXPECT_TRUE(matches(filter, pod));
}

TEST(PodFilter, AllLabelsMustMatch) {
  v1::PodSandboxFilter filter;
  (*filter.mutable_label_selector())["app"] = "web";
  EXPECT_TRUE(matches(filter, labelled()));
  (*filter.mutable_label_selector())["tier"] = "front";
  EXPECT_FALSE(matches(filter, labelled()));
  filter.clear_label_selector();
  (*filter.mutable_label_selector())["app"] = "db";
  EXPECT_FALSE(matches(filter, labelled()));
}

TEST(ContainerFilter, AllFieldsCount) {
  auto container = labelledContainer();
  v1::ContainerFilter filter;
  EXPECT_TRUE(matches(filter, container));
  filter.set_pod_sandbox_id("pod");
  filter.set_id("ab");
  filter.mutable_state()->set_state(v1::CONTAINER_EXITED);
  (*filter.mutable_label_selector())["app"] = "web";
  EXPECT_TRUE(matches(filter, container));

  auto otherPod = filter;
  otherPod.set_pod_sandbox_id("pod-2");
  EXPECT_FALSE(matches(otherPod, container));
  auto otherId = filter;
  otherId.set_id("b");
  EXPECT_FALSE(matches(otherId, container));
  auto otherState = filter;
  otherState.mutable_state()->set_state(v1::CONTAINER_CREATED);
  EXPECT_FALSE(matches(otherState, container));
  auto otherLabel = filter;
  (*otherLabel.mutable_label_selector())["app"] = "db";
  EXPECT_FALSE(matches(otherLabel, container));
}

TEST(StatsFilters, MatchAsThoseOfTheListsDo) {
  v1::PodSandboxStatsFilter pods;
  EXPECT_TRUE(matches(pods, labelled()));
  pods.set_id("abc");
  (*pods.mutable_label_selector())["app"] = "web";
  EXPECT_TRUE(matches(pods, labelled()));
  pods.set_id("b");
  EXPECT_FALSE(matches(pods, labelled()));

  v1::ContainerStatsFilter containers;
  containers.set_id("abc");
  containers.set_pod_sandbox_id("pod");
  EXPECT_TRUE(matches(containers, labelledContainer()));
  containers.set_pod_sandbox_id("other");
  EXPECT_FALSE(matches(containers, labelledContainer()));
}

}  // namespace
}  // namespace belay::criapi
