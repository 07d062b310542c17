// SharedDictionary beside a std::unordered_map behind a std::mutex, which one process has for
// itself: what sharing the map, and keeping it whole through a kill at any instruction, costs; and
// whether that depends on how many keys there are. In shared memory (shm:).
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "bench/paired.h"
#include "os/os.h"
#include "shm/shm_backend.h"
#include "strata/heap/shared_dictionary.h"

using namespace strata;

namespace {

constexpr std::uint64_t kCalls = 20'000;
constexpr std::string_view kText = "a text of forty characters, more or less";
constexpr std::string_view kOther = "another text of forty characters or less";

[[noreturn]] void give_up(const std::string& why) {
  fmt::print(stderr, "dictionary_bench: {}\n", why);
  std::exit(1);
}
template <typename T>
T must(Result<T> result) {
  if (!result) give_up(result.error().to_string());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

struct Peer {
  std::unordered_map<std::string, std::int64_t> numbers;
  std::unordered_map<std::string, std::string> texts;
  std::mutex lock;
};

class Keys {
 public:
  explicit Keys(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i)
      keys_.push_back("key " + std::to_string(i * 2654435761 % (count * 16)));
    for (std::uint64_t i = 0; i < kCalls; ++i)
      picked_.push_back(&keys_[random_() % count]);
  }
  const std::vector<std::string>& all() const { return keys_; }
  template <typename Call>
  double each_ns(Call&& call) const {
    const double all = timed_ns([&] {
      for (const std::string* key : picked_)
        call(*key);
    });
    return all / static_cast<double>(kCalls);
  }

 private:
  std::mt19937_64 random_{7};
  std::vector<std::string> keys_;
  std::vector<const std::string*> picked_;
};

void compare(PairedBench& bench, ShmBackend& backend, std::uint64_t count) {
  CreateOptions options;
  options.payload_bytes = MiB(64) + count * 320;
  options.lifetime = Lifetime::process;
  options.commit = Commit::sparse;
  Segment segment =
      must(backend.create({"shm", {}, fmt::format("dictionary-bench-{}", getpid())}, options));
  SharedDictionary ours = must(SharedDictionary::create(segment));
  Peer peer;
  const Keys keys(count);
  for (const std::string& key : keys.all()) {
    must(ours.set(key, 1));
    must(ours.set("t" + key, kText));
    peer.numbers[key] = 1;
    peer.texts["t" + key] = kText;
  }
  std::string room;
  const auto row = [&](const char* what, auto&& mine, auto&& theirs) {
    bench.compare(
        {.name = fmt::format("{}, {} keys", what, count),
         .ours = "Dictionary",
         .peer = "unordered_map"},
        [&] { return keys.each_ns(mine); }, [&] { return keys.each_ns(theirs); });
  };
  row(
      "get a number", [&](const std::string& key) { keep(must(ours.get(key, room))->word); },
      [&](const std::string& key) {
        const std::lock_guard guard(peer.lock);
        keep(peer.numbers.find(key)->second);
      });
  row(
      "get a text", [&](const std::string& key) { keep(must(ours.get("t" + key, room))->bytes); },
      [&](const std::string& key) {
        const std::lock_guard guard(peer.lock);
        room = peer.texts.find("t" + key)->second;
      });
  row(
      "add to a number", [&](const std::string& key) { must(ours.add(key, 1)); },
      [&](const std::string& key) {
        const std::lock_guard guard(peer.lock);
        ++peer.numbers[key];
      });
  row(
      "set a number", [&](const std::string& key) { must(ours.set(key, 5)); },
      [&](const std::string& key) {
        const std::lock_guard guard(peer.lock);
        peer.numbers[key] = 5;
      });
  row(
      "set a text", [&](const std::string& key) { must(ours.set("t" + key, kOther)); },
      [&](const std::string& key) {
        const std::lock_guard guard(peer.lock);
        peer.texts["t" + key] = kOther;
      });
  row(
      "a new key, and erase it",
      [&](const std::string& key) {
        must(ours.set("n" + key, 5));
        must(ours.erase("n" + key));
      },
      [&](const std::string& key) {
        const std::lock_guard guard(peer.lock);
        peer.numbers["n" + key] = 5;
        peer.numbers.erase("n" + key);
      });
}

}  // namespace

int main(int argc, char** argv) {
  PairedBench bench(argc, argv);
  RealOs os;
  ShmBackend backend(os);
  for (const std::uint64_t count : {1'000, 100'000, 1'000'000})
    compare(bench, backend, count);
  return bench.finish();
}
