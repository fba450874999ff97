// A command's output, from the memory files it was collected in to a reply that a client accepts.
#pragma once

#include "criapi/cri.pb.h"
#include "supervisor/runtime.h"

namespace belay::criapi {

// What both outputs of a reply may amount to: clients of the CRI refuse messages above 16 MiB, and
// the message's own framing needs a few bytes.
constexpr size_t MAX_EXEC_OUTPUT_BYTES = 16 * 1024 * 1024 - 1024;

// Copies both outputs into the reply. When they amount to more than `limit`, each gets what the
// other leaves and half of it at least; the rest is dropped.
void readExecOutput(const supervisor::ExecResult& result, runtime::v1::ExecSyncResponse& reply,
                    size_t limit = MAX_EXEC_OUTPUT_BYTES);

}  // namespace belay::criapi
