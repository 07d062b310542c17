// `strata pool dump`: the objects in a segment with their types, and bytes in hex.
#include <fmt/format.h>

#include <algorithm>

#include "pmem/pmem_backend.h"
#include "pmem/verified_reader.h"
#include "strata/base/bytes.h"
#include "strata/pmem/checkpoint.h"
#include "tools/pool/pool_commands.h"
#include "tools/view/heap_view.h"

namespace strata::inline v0_1::tools {
namespace {

constexpr std::uint64_t kRowBytes = 16;
constexpr std::uint64_t kFromTheStart = ~std::uint64_t{0};

struct DumpFlags {
  std::string path;
  std::string name;
  std::string object;
  std::uint64_t version = 0;
  std::uint64_t offset_bytes = kFromTheStart;
  std::uint64_t bytes = 256;
};

std::string hex_rows(std::span<const std::byte> bytes, std::uint64_t first_offset) {
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += kRowBytes) {
    const auto row = bytes.subspan(at, std::min<std::size_t>(kRowBytes, bytes.size() - at));
    std::string hex, plain;
    for (const std::byte each : row) {
      const auto value = static_cast<unsigned char>(each);
      hex += fmt::format("{:02x} ", value);
      plain += value >= 32 && value < 127 ? static_cast<char>(value) : '.';
    }
    text += fmt::format("{:012x}  {:<48} {}\n", first_offset + at, hex, plain);
  }
  return text;
}

std::string hex_of(std::span<const std::byte> bytes) {
  std::string hex;
  for (const std::byte each : bytes)
    hex += fmt::format("{:02x}", static_cast<unsigned char>(each));
  return hex;
}

// At most `most` bytes from `offset_bytes` on; verified where the version has checksums.
Result<std::vector<std::byte>> read_bytes(const VerifiedReader& reader, std::uint64_t offset_bytes,
                                          std::uint64_t most) {
  if (offset_bytes > reader.bytes()) {
    return fail(Code::invalid_argument,
                fmt::format("offset {}: it has {} bytes", offset_bytes, reader.bytes()));
  }
  std::vector<std::byte> bytes(std::min(most, reader.bytes() - offset_bytes));
  if (reader.has_checksums()) {
    STRATA_TRY(reader.read(offset_bytes, bytes));
  } else {
    const auto from = reader.unverified().subspan(offset_bytes, bytes.size());
    std::copy(from.begin(), from.end(), bytes.begin());
  }
  return bytes;
}

Json facts_of(const DumpFlags& flags, const VerifiedReader& reader) {
  return {{"path", flags.path},
          {"name", flags.name},
          {"version", reader.version()},
          {"payload_bytes", reader.bytes()},
          {"is_verified", reader.has_checksums()}};
}

Result<ExitCode> dump_range(Context& context, const DumpFlags& flags,
                            const VerifiedReader& reader) {
  const std::uint64_t first = flags.offset_bytes == kFromTheStart ? 0 : flags.offset_bytes;
  STRATA_ASSIGN(const std::vector<std::byte> bytes, read_bytes(reader, first, flags.bytes));
  Json json = facts_of(flags, reader);
  json["offset_bytes"] = first;
  json["hex"] = hex_of(bytes);
  context.output().json(json);
  context.output().picture(hex_rows(bytes, first));
  return ExitCode::done;
}

Result<ExitCode> dump_objects(Context& context, const DumpFlags& flags,
                              const VerifiedReader& reader, std::vector<ObjectInfo> objects) {
  if (!flags.object.empty()) {
    std::erase_if(objects, [&](const ObjectInfo& each) { return each.name != flags.object; });
    if (objects.empty()) return fail(Code::not_found, flags.name + ": no object " + flags.object);
  }
  std::sort(objects.begin(), objects.end(), [](const ObjectInfo& a, const ObjectInfo& b) {
    return a.offset_bytes < b.offset_bytes;
  });
  Json list = Json::array();
  for (const ObjectInfo& object : objects) {
    STRATA_ASSIGN(const std::vector<std::byte> bytes,
                  read_bytes(reader, object.offset_bytes, std::min(flags.bytes, object.bytes)));
    list.push_back({{"name", object.name},
                    {"type", object.type},
                    {"offset_bytes", object.offset_bytes},
                    {"bytes", object.bytes},
                    {"hex", hex_of(bytes)}});
    context.output().line({Cell(object.name, Tone::strong),
                           fmt::format("  {}, {} at 0x{:x}", object.type,
                                       format_bytes(object.bytes), object.offset_bytes)});
    context.output().picture(hex_rows(bytes, object.offset_bytes));
    if (bytes.size() < object.bytes) {
      context.output().line(fmt::format("{} more", format_bytes(object.bytes - bytes.size())));
    }
  }
  Json json = facts_of(flags, reader);
  json["objects"] = list;
  context.output().json(json);
  return ExitCode::done;
}

Result<ExitCode> dump(Context& context, const DumpFlags& flags) {
  const Pool pool = Pool::at(context.os(), flags.path);
  STRATA_ASSIGN(const VerifiedReader reader, VerifiedReader::open(pool, flags.name, flags.version));
  if (flags.offset_bytes != kFromTheStart) return dump_range(context, flags, reader);
  PmemBackend backend(context.os());
  STRATA_ASSIGN(Segment segment,
                backend.attach_version({"pmem", flags.path, flags.name}, reader.version(),
                                       {.access = Access::read_only}));
  if (flags.object.empty() && !has_heap(segment)) return dump_range(context, flags, reader);
  STRATA_ASSIGN(const Heap heap, open_heap(segment));
  STRATA_ASSIGN(std::vector<ObjectInfo> objects, heap.objects());
  if (objects.empty()) return dump_range(context, flags, reader);
  return dump_objects(context, flags, reader, std::move(objects));
}

}  // namespace

void add_pool_dump(Commands& pool) {
  const auto flags = std::make_shared<DumpFlags>();
  pool.add(
          {.name = "dump",
           .summary = "print the objects in a segment of a pool, with their types",
           .description = "In hex, verified with the checksums where there are such. With --offset "
                          "any bytes, whatever they are.",
           .examples = "strata pool dump run.pool words\n"
                       "strata pool dump run.pool words --object words.map\n"
                       "strata pool dump run.pool mesh --offset 4096 --bytes 64",
           .other_names = {"hexdump"}},
          [flags](Context& context) { return dump(context, *flags); })
      .word("PATH", flags->path, "the pool's file")
      .word("NAME", flags->name, "the segment")
      .option("--object", flags->object, "only this one of its heap", "NAME")
      .option("--version", flags->version, "an older version")
      .size("--offset", flags->offset_bytes, "bytes from here on, whatever they are")
      .size("--bytes", flags->bytes, "how many, of each object (default 256)");
}

}  // namespace strata::inline v0_1::tools
