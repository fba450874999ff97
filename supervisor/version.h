// belay's own version, as Version and --version tell it.
#pragma once

namespace belay::supervisor {

constexpr const char* VERSION_TEXT = "0.1.0";

}  // namespace belay::supervisor
