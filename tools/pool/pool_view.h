// How pools look in tables, in JSON and as a picture. Keys are documented in docs/guides/cli.md.
#pragma once

#include <string>

#include "pmem/pool_check.h"
#include "tools/terminal/output.h"
#include "tools/terminal/svg.h"

namespace strata::inline v0_1::tools {

Json to_json(const PoolSegmentInfo& segment);
Json to_json(const PoolInfo& info);
Json to_json(const CheckReport& report);

Table segment_table(const PoolInfo& info);
Facts pool_facts(const PoolInfo& info);
Table check_table(const CheckReport& report);

// The pool's file from its first byte to its last, with what lies where.
Svg draw_pool(const PoolInfo& info);

}  // namespace strata::inline v0_1::tools
