// How full a heap is, unit by unit, and which sizes its blocks have.
#pragma once

#include <string_view>

#include "strata/heap/heap_report.h"
#include "tools/terminal/svg.h"

namespace strata::inline v0_1::tools {

Svg draw_heap(const HeapUsage& usage, std::string_view uri);

}  // namespace strata::inline v0_1::tools
