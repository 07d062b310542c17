#include "examples/demo/word_map.h"

#include <cstring>

namespace demo {
namespace {

using strata::Offset;
using strata::Result;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// FNV-1a: the same in every process, unlike std::hash.
std::uint64_t hash_of(std::string_view word) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : word)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

char* letters_of(WordNode* node) { return reinterpret_cast<char*>(node + 1); }

}  // namespace

std::uint64_t MapShares::done() const {
  std::uint64_t sum = 0;
  for (std::uint64_t i = 0; i < count && i < kMaxMapShares; ++i) {
    // Another process may be committing it at this moment.
    auto& word = const_cast<std::uint64_t&>(shares[i].is_done);
    sum += std::atomic_ref<std::uint64_t>(word).load(std::memory_order_acquire);
  }
  return sum;
}

void count_words(std::string_view text, std::size_t offset_bytes, std::size_t bytes,
                 WordCounts& counts) {
  std::string word;
  for (std::size_t i = offset_bytes; i < offset_bytes + bytes; ++i) {
    if (!is_letter(text[i]) || (i > 0 && is_letter(text[i - 1]))) continue;
    word.clear();
    for (std::size_t at = i; at < text.size() && is_letter(text[at]); ++at)
      word += lower(text[at]);
    ++counts[word];
  }
}

Result<void> add_word(strata::Transaction& tx, WordMap& map, std::string_view word,
                      std::uint64_t count) {
  STRATA_TRY(tx.write(map.words, tx.read(map.words) + count));
  Offset<WordNode>& bucket = map.buckets[hash_of(word) % map.buckets.size()];
  for (Offset<WordNode> at = tx.read(bucket); at;) {
    WordNode* const node = tx.get(at);
    if (node == nullptr) return strata::fail(strata::Code::corrupt, "a word is out of bounds");
    if (node->length_bytes == word.size() &&
        std::memcmp(letters_of(node), word.data(), word.size()) == 0) {
      return tx.write(node->count, tx.read(node->count) + count);
    }
    at = tx.read(node->next);
  }
  STRATA_ASSIGN(const auto block, tx.allocate(sizeof(WordNode) + word.size()));
  const Offset<WordNode> fresh{block.bytes};
  // Nobody sees the block before the commit, so it is filled in place.
  WordNode* const node = tx.get(fresh);
  *node = {.next = tx.read(bucket), .count = count, .length_bytes = word.size()};
  std::memcpy(letters_of(node), word.data(), word.size());
  STRATA_TRY(tx.write(map.distinct, tx.read(map.distinct) + 1));
  return tx.write(bucket, fresh);
}

Result<WordCounts> read_map(const strata::Heap& heap, const WordMap& map) {
  WordCounts counts;
  for (Offset<WordNode> at : map.buckets) {
    for (std::uint64_t steps = 0; at; ++steps) {
      WordNode* const node = heap.get(at);
      const char* const letters =
          node == nullptr ? nullptr
                          : heap.get(Offset<char>{at.bytes + sizeof(WordNode)}, node->length_bytes);
      if (letters == nullptr || steps > map.distinct)
        return strata::fail(strata::Code::corrupt, "the map does not hang together");
      counts.emplace(std::string(letters, node->length_bytes), node->count);
      at = node->next;
    }
  }
  return counts;
}

}  // namespace demo
