// What pods and containers use, as the CRI's stats. A number that the kernel does not give is
// absent.
#include "criapi/translate-usage.h"

#include "criapi/text.h"

namespace belay::criapi {
namespace {

namespace v1 = runtime::v1;

// The interface that the kubelet shows for a pod.
constexpr kj::StringPtr DEFAULT_INTERFACE = "eth0"_kj;

// Sets `MESSAGE.mutable_FIELD()` unless the number is unknown.
template <typename Message>
void put(Message& message, v1::UInt64Value* (Message::*field)(), uint64_t number) {
  if (number != shim::UNKNOWN) (message.*field)()->set_value(number);
}

// What is left of a limit; unknown if there is none.
uint64_t leftOf(uint64_t limit, uint64_t used) {
  if (limit == shim::UNKNOWN || used == shim::UNKNOWN) return shim::UNKNOWN;
  return used < limit ? limit - used : 0;
}

void readLine(shim::Pressure::Line::Reader line, v1::PsiData& data) {
  data.set_total(line.getTotalUs() * 1000);
  data.set_avg10(line.getAverage10());
  data.set_avg60(line.getAverage60());
  data.set_avg300(line.getAverage300());
}

void readPressure(shim::Pressure::Reader pressure, v1::PsiStats& stats) {
  readLine(pressure.getSome(), *stats.mutable_some());
  readLine(pressure.getFull(), *stats.mutable_full());
}

void readCpu(shim::CgroupUsage::Reader usage, v1::CpuUsage& cpu) {
  cpu.set_timestamp(usage.getTimeNs());
  put(cpu, &v1::CpuUsage::mutable_usage_core_nano_seconds, usage.getCpuNs());
  put(cpu, &v1::CpuUsage::mutable_usage_nano_cores, usage.getCpuNsPerSecond());
  if (usage.hasCpuPressure()) readPressure(usage.getCpuPressure(), *cpu.mutable_psi());
}

void readMemory(shim::CgroupUsage::Reader usage, v1::MemoryUsage& memory) {
  memory.set_timestamp(usage.getTimeNs());
  put(memory, &v1::MemoryUsage::mutable_working_set_bytes, usage.getWorkingSetBytes());
  put(memory, &v1::MemoryUsage::mutable_available_bytes,
      leftOf(usage.getMemoryLimitBytes(), usage.getWorkingSetBytes()));
  put(memory, &v1::MemoryUsage::mutable_usage_bytes, usage.getMemoryBytes());
  put(memory, &v1::MemoryUsage::mutable_rss_bytes, usage.getAnonymousBytes());
  put(memory, &v1::MemoryUsage::mutable_page_faults, usage.getPageFaults());
  put(memory, &v1::MemoryUsage::mutable_major_page_faults, usage.getMajorPageFaults());
  if (usage.hasMemoryPressure()) readPressure(usage.getMemoryPressure(), *memory.mutable_psi());
}

void readSwap(shim::CgroupUsage::Reader usage, v1::SwapUsage& swap) {
  swap.set_timestamp(usage.getTimeNs());
  put(swap, &v1::SwapUsage::mutable_swap_usage_bytes, usage.getSwapBytes());
  put(swap, &v1::SwapUsage::mutable_swap_available_bytes,
      leftOf(usage.getSwapLimitBytes(), usage.getSwapBytes()));
}

void readIo(shim::CgroupUsage::Reader usage, v1::IoUsage& io) {
  io.set_timestamp(usage.getTimeNs());
  readPressure(usage.getIoPressure(), *io.mutable_psi());
}

void readInterface(shim::InterfaceUsage::Reader from, v1::NetworkInterfaceUsage& to) {
  auto name = from.getName().asChars();
  to.set_name(replyText(kj::heapString(name)));
  to.mutable_rx_bytes()->set_value(from.getRxBytes());
  to.mutable_rx_errors()->set_value(from.getRxErrors());
  to.mutable_tx_bytes()->set_value(from.getTxBytes());
  to.mutable_tx_errors()->set_value(from.getTxErrors());
}

void readNetwork(const supervisor::PodUsageView& view, v1::NetworkUsage& network) {
  auto usage = view.usage.get();
  network.set_timestamp(usage.getCgroup().getTimeNs());
  kj::StringPtr wanted = view.record.get().getNetwork().getIfName();
  if (wanted.size() == 0) wanted = DEFAULT_INTERFACE;
  for (auto interface : usage.getInterfaces()) {
    bool isDefault = interface.getName().asChars() == wanted.asArray();
    readInterface(interface,
                  isDefault ? *network.mutable_default_interface() : *network.add_interfaces());
  }
}

}  // namespace

void readContainerStats(const supervisor::ContainerUsageView& view, v1::ContainerStats& stats) {
  auto record = view.record.get();
  auto config = record.getConfig();
  auto& attributes = *stats.mutable_attributes();
  attributes.set_id(replyText(record.getId()));
  attributes.mutable_metadata()->set_name(replyText(config.getName()));
  attributes.mutable_metadata()->set_attempt(config.getAttempt());
  readPairs(config.getLabels(), *attributes.mutable_labels());
  readPairs(config.getAnnotations(), *attributes.mutable_annotations());

  auto usage = view.usage.get();
  readCpu(usage, *stats.mutable_cpu());
  readMemory(usage, *stats.mutable_memory());
  readSwap(usage, *stats.mutable_swap());
  if (usage.hasIoPressure()) readIo(usage, *stats.mutable_io());
  KJ_IF_MAYBE (layer, view.layer) {
    auto& written = *stats.mutable_writable_layer();
    written.set_timestamp(layer->timestampNs);
    written.mutable_fs_id()->set_mountpoint(replyText(layer->mountpoint));
    written.mutable_used_bytes()->set_value(layer->usedBytes);
    written.mutable_inodes_used()->set_value(layer->inodesUsed);
  }
}

void readPodSandboxStats(const supervisor::PodUsageView& view, v1::PodSandboxStats& stats) {
  auto record = view.record.get();
  auto config = record.getConfig();
  auto& attributes = *stats.mutable_attributes();
  attributes.set_id(replyText(record.getId()));
  attributes.mutable_metadata()->set_name(replyText(config.getName()));
  attributes.mutable_metadata()->set_uid(replyText(config.getUid()));
  attributes.mutable_metadata()->set_namespace_(replyText(config.getNamespace()));
  attributes.mutable_metadata()->set_attempt(config.getAttempt());
  readPairs(config.getLabels(), *attributes.mutable_labels());
  readPairs(config.getAnnotations(), *attributes.mutable_annotations());

  auto usage = view.usage.get().getCgroup();
  auto& pod = *stats.mutable_linux();
  readCpu(usage, *pod.mutable_cpu());
  readMemory(usage, *pod.mutable_memory());
  if (usage.hasIoPressure()) readIo(usage, *pod.mutable_io());
  if (view.usage.get().getInterfaces().size() > 0) readNetwork(view, *pod.mutable_network());
  if (usage.getTasks() != shim::UNKNOWN) {
    pod.mutable_process()->set_timestamp(usage.getTimeNs());
    pod.mutable_process()->mutable_process_count()->set_value(usage.getTasks());
  }
  for (auto& container : view.containers)
    readContainerStats(container, *pod.add_containers());
}

}  // namespace belay::criapi
