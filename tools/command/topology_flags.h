// --topology: this machine, a captured one, or one that is made up.
#pragma once

#include <string>

#include "numa/topology.h"
#include "tools/command/arguments.h"

namespace strata::inline v0_1::tools {

inline void add_topology_flag(Arguments& arguments, std::string& spec) {
  arguments.option("--topology", spec,
                   "an hwloc XML file or synthetic description instead of this machine",
                   "FILE|SYNTHETIC");
}

inline Result<Topology> load_topology(Os& os, const std::string& spec) {
  return spec.empty() ? Topology::from_machine(os) : Topology::load(os, spec);
}

}  // namespace strata::inline v0_1::tools
