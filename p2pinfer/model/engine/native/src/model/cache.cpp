#include "cache.hpp"

#include <algorithm>
#include <cstring>

namespace p2pinfer {

namespace {

// Copies the places [first, end) of a page.
void copy_places(const PageLayout& layout, const float* from, float* to, int first, int end) {
  const size_t places = static_cast<size_t>(end - first), bytes = sizeof(float) * places;
  const size_t padded = static_cast<size_t>(layout.padded_head_dim);
  for (int layer = 0; layer < layout.layers; ++layer) {
    for (int head = 0; head < layout.kv_heads; ++head) {
      for (int i = 0; i < layout.head_dim; ++i) {
        const size_t at = layout.key_offset(layer, head) + static_cast<size_t>(i * kPageTokens + first);
        std::memcpy(to + at, from + at, bytes);
      }
      const size_t at = layout.value_offset(layer, head) + static_cast<size_t>(first) * padded;
      std::memcpy(to + at, from + at, bytes * padded);
    }
  }
}

}  // namespace

size_t PageLayout::head_floats() const {
  return static_cast<size_t>(kPageTokens) * static_cast<size_t>(head_dim + padded_head_dim);
}

size_t PageLayout::page_bytes() const {
  return sizeof(float) * head_floats() * static_cast<size_t>(layers) * static_cast<size_t>(kv_heads);
}

size_t PageLayout::key_offset(int layer, int kv_head) const {
  return head_floats() * (static_cast<size_t>(layer) * static_cast<size_t>(kv_heads) + static_cast<size_t>(kv_head));
}

size_t PageLayout::value_offset(int layer, int kv_head) const {
  return key_offset(layer, kv_head) + static_cast<size_t>(kPageTokens) * static_cast<size_t>(head_dim);
}

bool TokenBudget::take(int64_t layer_tokens) {
  int64_t held = layer_tokens_.load();
  do {
    if (layer_tokens > limit_ - held) return false;
  } while (!layer_tokens_.compare_exchange_weak(held, held + layer_tokens));
  return true;
}

bool Sequence::grow(int tokens) {
  if (!budget_.take(static_cast<int64_t>(tokens) * layout.layers)) return false;
  const int before = length_;
  length_ += tokens;
  const size_t pages = (static_cast<size_t>(length_) + kPageTokens - 1) / kPageTokens;
  try {
    if (before % kPageTokens != 0) own_last_page();
    pages_.reserve(pages);
    starts_.reserve(pages);
    while (pages_.size() < pages) {
      pages_.push_back(std::make_shared<Page>(layout.page_bytes(), budget_));
      starts_.push_back(pages_.back()->floats());
    }
  } catch (...) {
    shrink(before);
    throw;
  }
  return true;
}

bool Sequence::extend(const Sequence& source, int length) {
  const int before = length_;
  while (length_ < length) {
    const int start = length_, first = start % kPageTokens, end = std::min(kPageTokens, first + length - start);
    const size_t page = static_cast<size_t>(start / kPageTokens);
    bool done = false;
    try {
      done = end - first == kPageTokens ? share(source.pages_[page]) : grow(end - first);
    } catch (...) {
      shrink(before);
      throw;
    }
    if (!done) {
      shrink(before);
      return false;
    }
    if (end - first < kPageTokens) copy_places(layout, source.starts_[page], pages_[page]->floats(), first, end);
  }
  return true;
}

// Appends a page of another sequence. Fails as grow does.
bool Sequence::share(const std::shared_ptr<Page>& page) {
  pages_.reserve(pages_.size() + 1);
  starts_.reserve(pages_.size() + 1);
  if (!budget_.take(static_cast<int64_t>(kPageTokens) * layout.layers)) return false;
  pages_.push_back(page);
  starts_.push_back(page->floats());
  length_ += kPageTokens;
  return true;
}

// Other sequences may still read the last page: what comes next is written to a copy.
void Sequence::own_last_page() {
  if (pages_.back().use_count() == 1) return;
  auto own = std::make_shared<Page>(layout.page_bytes(), budget_);
  std::memcpy(own->floats(), starts_.back(), layout.page_bytes());
  starts_.back() = own->floats();
  pages_.back() = std::move(own);
}

void Sequence::shrink(int length) {
  const size_t pages = (static_cast<size_t>(length) + kPageTokens - 1) / kPageTokens;
  while (pages_.size() > pages) {
    starts_.pop_back();
    pages_.pop_back();
  }
  budget_.give_back(static_cast<int64_t>(length_ - length) * layout.layers);
  length_ = length;
}

}  // namespace p2pinfer
