// Keys and values of sequences, in pages of sixteen tokens that are taken and freed with the tokens. Sequences
// with a common beginning share its whole pages: nobody writes to a page that has two owners.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "../kernels/kernels.hpp"
#include "../system/memory.hpp"

namespace p2pinfer {

// The layout of a page: for each layer and key-value head, keys [head_dim][16], then values
// [16][padded_head_dim].
struct PageLayout {
  int layers;
  int kv_heads;
  int head_dim;
  int padded_head_dim;

  size_t head_floats() const;
  size_t page_bytes() const;
  size_t key_offset(int layer, int kv_head) const;
  size_t value_offset(int layer, int kv_head) const;
};

// Counts the tokens of all sequences, times layers, against a limit, and the bytes of their pages.
class TokenBudget {
 public:
  explicit TokenBudget(int64_t limit) : limit_(limit) {}
  bool take(int64_t layer_tokens);
  void give_back(int64_t layer_tokens) { layer_tokens_ -= layer_tokens; }
  int64_t layer_tokens() const { return layer_tokens_; }
  std::atomic<int64_t> bytes{0};

 private:
  const int64_t limit_;
  std::atomic<int64_t> layer_tokens_{0};
};

// The memory of one page, counted for as long as a sequence owns it. The sequences keep the budget alive.
class Page {
 public:
  Page(size_t bytes, TokenBudget& budget) : block_(bytes), budget_(budget) {
    budget_.bytes += static_cast<int64_t>(block_.bytes());
  }
  ~Page() { budget_.bytes -= static_cast<int64_t>(block_.bytes()); }
  Page(const Page&) = delete;
  Page& operator=(const Page&) = delete;
  float* floats() const { return block_.as<float>(); }

 private:
  const Block block_;
  TokenBudget& budget_;
};

// One sequence in layers [first_layer, first_layer + layout.layers) of a model. One thread at a time may use a
// sequence; different threads may use different sequences.
class Sequence {
 public:
  Sequence(const PageLayout& layout, int first_layer, TokenBudget& budget)
      : layout(layout), first_layer(first_layer), budget_(budget) {}
  ~Sequence() { shrink(0); }
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  const PageLayout layout;
  const int first_layer;

  int end_layer() const { return first_layer + layout.layers; }
  bool passes(int layer) const { return first_layer <= layer && layer < end_layer(); }
  int length() const { return length_; }
  // Adds room for `tokens` more and counts them at once. Returns false if the budget is spent, throws
  // std::bad_alloc if memory is. In both cases nothing has changed.
  bool grow(int tokens);
  // Forgets the tokens from `length` on and frees the pages that held only these.
  void shrink(int length);
  // Grows to `length`, at most the source's, with its tokens: whole pages are shared, the others copied. The layers
  // are the same. Fails as grow does.
  bool extend(const Sequence& source, int length);

  // Good for writing from the length before the last `grow` on.
  float* page(int token) const { return pages_[static_cast<size_t>(token) / kPageTokens]->floats(); }
  const float* const* starts() const { return starts_.data(); }

 private:
  bool share(const std::shared_ptr<Page>& page);
  void own_last_page();

  TokenBudget& budget_;
  std::vector<std::shared_ptr<Page>> pages_;
  std::vector<const float*> starts_;
  int length_ = 0;
};

}  // namespace p2pinfer
