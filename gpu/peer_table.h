// What the entries of peers tell, one by one.
//   Threads:  any.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "gpu/descriptor_exchange.h"
#include "gpu/peer_directory.h"

namespace strata::inline v0_1::cuda {

// Null where there is none.
Result<std::shared_ptr<PeerDirectory>> open_if_there(Os& os, const PeerPlace& place);

// The entries whose names begin so.
Result<std::set<std::string>> entries_of(const PeerDirectory& directory,
                                         std::string_view beginning);

// What an entry says of its process, and what its lock proves. Where it cannot be read: pid 0.
Consumer consumer_of(Os& os, const PeerDirectory& directory, const std::string& entry);

}  // namespace strata::inline v0_1::cuda
