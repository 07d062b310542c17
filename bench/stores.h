// Key-value stores on disk as peers: each adds to the number of a key, durably. They are loaded
// when they run, so that the build needs none of them.
//   Threads:  each committing thread makes a Session of its own; a Store is made by one.
//   Errors:   a peer that refuses something ends the benchmark with the reason.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace strata::inline v0_1 {

class StoreSession {
 public:
  virtual ~StoreSession() = default;
  // number[key] += 1, on the disk when this returns.
  virtual void add_one(std::string_view key) = 0;
  // What it is now; 0 for none.
  virtual std::uint64_t number(std::string_view key) = 0;
};

class Store {
 public:
  virtual ~Store() = default;
  virtual std::unique_ptr<StoreSession> session() = 0;
};

// In a folder of their own that exists. Null where the library is not installed.
std::unique_ptr<Store> open_lmdb(const std::string& folder);     // MDB_NOSYNC off: its default
std::unique_ptr<Store> open_sqlite(const std::string& folder);   // WAL, synchronous=FULL
std::unique_ptr<Store> open_leveldb(const std::string& folder);  // sync writes

}  // namespace strata::inline v0_1
