// A C door to "cuda:" segments for tests/gpu/python_clients.py, which loads it by ctypes and gives
// the address to PyTorch and CuPy.
//   Threads:  one.
//   Errors:   a null client, and the text in `error`.

#include <cstdint>
#include <cstring>
#include <memory>

#include "strata/strata.h"

using namespace strata;

namespace {

struct Client {
  Catalog catalog;
  Segment segment;
};

Client* keep(Catalog catalog, Result<Segment> segment, char* error, std::size_t error_bytes) {
  if (!segment) {
    std::strncpy(error, segment.error().to_string().c_str(), error_bytes - 1);
    return nullptr;
  }
  return new Client{std::move(catalog), std::move(*segment)};
}

Catalog catalog_in(const char* directory) {
  CatalogOptions options;
  options.cuda.directory = directory;
  return open_catalog(options);
}

}  // namespace

extern "C" {

void* client_create(const char* uri, std::uint64_t bytes, const char* directory, char* error,
                    std::size_t error_bytes) {
  Catalog catalog = catalog_in(directory);
  CreateOptions options;
  options.payload_bytes = bytes;
  auto segment = catalog.create(uri, options);
  return keep(std::move(catalog), std::move(segment), error, error_bytes);
}

void* client_attach(const char* uri, const char* directory, char* error, std::size_t error_bytes) {
  Catalog catalog = catalog_in(directory);
  auto segment = catalog.attach(uri);
  return keep(std::move(catalog), std::move(segment), error, error_bytes);
}

// 0 where the segment has no device address.
std::uint64_t client_address(const void* client) {
  const auto span = static_cast<const Client*>(client)->segment.device_bytes();
  return span ? span->address : 0;
}

std::uint64_t client_bytes(const void* client) {
  return static_cast<const Client*>(client)->segment.payload_bytes();
}

void client_close(void* client) { delete static_cast<Client*>(client); }
}
