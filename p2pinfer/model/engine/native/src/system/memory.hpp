// Aligned memory of exactly known size, which returns to the system when it is freed.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

// P2PINFER_CHECKED_MEMORY is for sanitizers and valgrind, which can't check memory from mmap: every piece is
// a heap allocation with its own bounds.
#if (defined(__unix__) || defined(__APPLE__)) && !defined(P2PINFER_CHECKED_MEMORY)
#include <sys/mman.h>
#define P2PINFER_HAS_MMAP 1
#endif

namespace p2pinfer {

// Zeroed bytes directly from the system, and back to it when freed. Throws std::bad_alloc.
class Block {
 public:
  Block() = default;
  // `huge` requests large pages if the system has them. Every step reads all packed weights, and large pages
  // save most of the address translations.
  explicit Block(size_t bytes, bool huge = false) : bytes_(bytes) {
    if (bytes == 0) return;
#ifdef P2PINFER_HAS_MMAP
    void* got = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) throw std::bad_alloc();
    data_ = got;
#ifdef MADV_HUGEPAGE
    if (huge) madvise(data_, bytes, MADV_HUGEPAGE);
#endif
#else
    data_ = std::calloc(bytes, 1);
    if (!data_) throw std::bad_alloc();
#endif
    (void)huge;
  }
  Block(Block&& other) noexcept { swap(other); }
  Block& operator=(Block&& other) noexcept {
    Block taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~Block() {
    if (!data_) return;
#ifdef P2PINFER_HAS_MMAP
    munmap(data_, bytes_);
#else
    std::free(data_);
#endif
  }

  template <class T>
  T* as() const { return static_cast<T*>(data_); }
  size_t bytes() const { return bytes_; }

 private:
  void swap(Block& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Gives out pieces of one block. Each begins on a cache line of its own.
class Arena {
 public:
  static size_t rounded(size_t bytes) { return (bytes + 63) / 64 * 64; }
  Arena() = default;
  Arena(size_t bytes, bool huge) : block_(bytes, huge) {}
  template <class T>
  T* take(size_t count) {
    T* piece = reinterpret_cast<T*>(block_.as<char>() + used_);
    used_ += rounded(count * sizeof(T));
    if (used_ > block_.bytes()) throw std::bad_alloc();
#ifdef P2PINFER_CHECKED_MEMORY
    pieces_.emplace_back(count * sizeof(T));
    piece = pieces_.back().template as<T>();
#endif
    return piece;
  }
  size_t bytes() const { return block_.bytes(); }

 private:
  Block block_;
  size_t used_ = 0;
#ifdef P2PINFER_CHECKED_MEMORY
  std::vector<Block> pieces_;
#endif
};

}  // namespace p2pinfer
