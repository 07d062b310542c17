// --topology: this machine, a captured one, or one that is made up.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "numa/topology.h"

namespace strata::tools {

inline void add_topology_flag(CLI::App& app, std::string& spec) {
  app.add_option("--topology", spec,
                 "an hwloc XML file or synthetic description instead of this machine")
      ->type_name("FILE|SYNTHETIC");
}

inline Result<Topology> load_topology(Os& os, const std::string& spec) {
  return spec.empty() ? Topology::from_machine(os) : Topology::load(os, spec);
}

}  // namespace strata::tools
