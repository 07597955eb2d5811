// Random models through the native engine, from C++, so that the test runs without Python: in an emulator of
// another processor, with sanitizers, under valgrind.
//
//   native_driver ISA FIRST COUNT    cases FIRST to FIRST + COUNT - 1, one line with a hash each
//   native_driver isas               the instruction sets that can run here, in the order of P2P_ISA_*
//
// Its number alone decides a case. The hash covers the engine's results, with all NaNs made equal. Equal lines
// on two machines mean equal bytes. Within one run a case must also give the same bytes for other threads,
// chunks, batches, spans and rounding modes. If it doesn't, its line says WRONG.
#include <algorithm>
#include <cfenv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "abi.hpp"
#include "cases.hpp"

namespace {

// FNV-1a over the bits.
uint64_t hash_of(const Floats& values) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const float value : values) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    for (int byte = 0; byte < 4; ++byte) hash = (hash ^ (bits >> (8 * byte) & 0xff)) * 0x100000001b3u;
  }
  return hash;
}

bool same_bits(const float* one, const float* other, size_t count) {
  return std::memcmp(one, other, sizeof(float) * count) == 0;
}

// Each sequence alone, in one piece, on one thread: the result that all other ways must give. Also fills the
// cache to its last token, and checks that the next token is refused without a trace.
std::vector<Floats> run_alone(const ModelCase& model, int isa, std::string& complaints) {
  int longest = 0;
  for (size_t i = 0; i < model.inputs.size(); ++i) longest = std::max(longest, model.tokens(i));
  const int64_t most = static_cast<int64_t>(longest) * model.shape.layers;
  Engine engine(model, isa, 1, most);
  std::vector<Floats> outputs;
  for (size_t i = 0; i < model.inputs.size(); ++i) {
    Sequence sequence = engine.open(0, model.shape.layers);
    outputs.push_back(engine.forward({{&sequence, model.inputs[i].data(), model.tokens(i)}}));
    if (sequence.length() == longest) {
      const int64_t bytes = engine.cache_bytes();
      if (engine.has_room_for({&sequence, model.inputs[i].data(), 1})) complaints += " a full cache took a token;";
      if (engine.cache_layer_tokens() != most || engine.cache_bytes() != bytes)
        complaints += " a refused token left a trace;";
    }
  }
  if (engine.cache_layer_tokens() != 0 || engine.cache_bytes() != 0) complaints += " a freed cache isn't empty;";
  return outputs;
}

// Other sessions of the same server, in another thread: they open, rewind and close while a step runs.
void visit(const Engine& engine, const ModelCase& model, std::vector<Sequence>& guests) {
  for (int round = 0; round < 12; ++round) {
    const Sequence passing = engine.open(0, model.shape.layers);
    for (Sequence& guest : guests)
      if (guest.length() > 0) guest.rewind(guest.length() - 1);
    if (engine.cache_layer_tokens() < 0 || engine.cache_bytes() < 0) std::abort();
  }
  guests.clear();
}

// A batch: one chunk each of some unfinished sequences, from a random start. Empty when all are finished.
std::vector<Engine::Chunk> random_batch(Random& random, const ModelCase& model, std::vector<Sequence>& sequences) {
  std::vector<Engine::Chunk> chunks;
  const bool decode = random.once_in(2);
  const size_t count = sequences.size(), start = static_cast<size_t>(random.between(0, static_cast<int>(count) - 1));
  for (size_t k = 0; k < count; ++k) {
    const size_t i = (start + k) % count;
    const int from = sequences[i].length(), left = model.tokens(i) - from;
    if (left == 0 || (!chunks.empty() && random.once_in(3))) continue;
    const int some = random.between(1, left), tokens = decode ? 1 : random.once_in(3) ? left : some;
    const float* at = model.inputs[i].data() + static_cast<ptrdiff_t>(from) * model.shape.hidden;
    chunks.push_back({&sequences[i], at, tokens});
  }
  return chunks;
}

// All sequences together in random batches, with detours that are rewound, and visitors in another thread.
void run_together(Random& random, const ModelCase& model, int isa, const std::vector<Floats>& expected,
                  std::string& complaints) {
  const int threads = random.between(1, 3), hidden = model.shape.hidden;
  Engine engine(model, isa, threads, INT64_MAX);
  std::vector<Sequence> sequences, guests;
  std::vector<Engine::Chunk> arriving;
  for (size_t i = 0; i < model.inputs.size(); ++i) sequences.push_back(engine.open(0, model.shape.layers));
  for (int i = 0; i < 2; ++i) guests.push_back(engine.open(0, model.shape.layers));
  for (Sequence& guest : guests) arriving.push_back({&guest, model.inputs[0].data(), std::min(model.tokens(0), 20)});
  if (random.once_in(3)) engine.forward(arriving);
  std::thread visitor(visit, std::cref(engine), std::cref(model), std::ref(guests));
  std::vector<Sequence> copies;
  int detours = 6;
  for (;;) {
    const std::vector<Engine::Chunk> chunks = random_batch(random, model, sequences);
    if (chunks.empty()) break;
    const Floats found = engine.forward(chunks);
    size_t at = 0;
    for (const Engine::Chunk& chunk : chunks) {
      const size_t i = static_cast<size_t>(chunk.sequence - sequences.data());
      const size_t count = static_cast<size_t>(chunk.count) * static_cast<size_t>(hidden);
      const size_t from = static_cast<size_t>(chunk.tokens - model.inputs[i].data());
      if (!same_bits(found.data() + at, expected[i].data() + from, count))
        complaints += " sequence " + std::to_string(i) + " tokens " + std::to_string(from / hidden) + "+" +
                      std::to_string(chunk.count) + " differ in a batch of " + std::to_string(chunks.size()) + " on " +
                      std::to_string(threads) + " threads;";
      at += count;
    }
    Sequence& one = *chunks[0].sequence;
    if (detours > 0 && random.once_in(4)) {
      --detours;
      const int length = one.length(), wrong = random.between(1, std::min(model.tokens(0), 33));
      engine.forward({{&one, model.inputs[0].data(), wrong}});
      one.rewind(random.once_in(2) ? length : random.between(0, length));
      if (random.once_in(2)) {
        Sequence copy = engine.open(0, model.shape.layers);
        copy.extend(one, random.between(0, one.length()));
        copy.extend(one, one.length());
        std::swap(one, copy);
        if (copies.size() < 8) copies.push_back(std::move(copy));  // it shares pages with its successor
      }
      if (!copies.empty() && random.once_in(3)) {
        Sequence& other = copies[static_cast<size_t>(random.between(0, static_cast<int>(copies.size()) - 1))];
        other.rewind(random.between(0, other.length()));
        engine.forward({{&other, model.inputs[0].data(), wrong}});
      }
    }
  }
  visitor.join();
  sequences.clear();
  copies.clear();
  if (engine.cache_layer_tokens() != 0 || engine.cache_bytes() != 0) complaints += " freed caches aren't empty;";
}

// Routes: every sequence through its first layers, then through the rest, each cut elsewhere, so that a batch has
// sequences that enter and leave in the middle. In a rounding mode that another library of the process might have set.
void run_cut(Random& random, const ModelCase& model, int isa, const std::vector<Floats>& expected,
             std::string& complaints) {
  const int layers = model.shape.layers, rounding = random.pick({FE_UPWARD, FE_TOWARDZERO});
  auto engine = std::make_unique<Engine>(model, isa, random.between(1, 3), INT64_MAX);
  std::vector<int> cuts;
  std::vector<Sequence> opened, others;
  std::vector<Engine::Chunk> first, rest;
  for (size_t i = 0; i < model.inputs.size(); ++i) {
    cuts.push_back(random.between(1, layers));
    opened.push_back(engine->open(0, cuts[i]));
    others.push_back(engine->open(std::min(cuts[i], layers - 1), std::max(layers - cuts[i], 1)));
  }
  for (size_t i = 0; i < model.inputs.size(); ++i)
    first.push_back({&opened[i], model.inputs[i].data(), model.tokens(i)});
  std::fesetround(rounding);
  const Floats middle = engine->forward(first);
  std::fesetround(FE_TONEAREST);
  std::vector<Floats> found;
  const float* from = middle.data();
  for (size_t i = 0; i < model.inputs.size(); from += model.inputs[i].size(), ++i) {
    if (cuts[i] < layers) rest.push_back({&others[i], from, model.tokens(i)});
    found.push_back(Floats(from, from + model.inputs[i].size()));
  }
  if (!rest.empty()) {
    const Floats ends = engine->forward(rest);
    const float* end = ends.data();
    for (const Engine::Chunk& chunk : rest) {
      Floats& one = found[static_cast<size_t>(chunk.sequence - others.data())];
      std::copy(end, end + one.size(), one.begin());
      end += one.size();
    }
  }
  for (size_t i = 0; i < expected.size(); ++i)
    if (!same_bits(found[i].data(), expected[i].data(), expected[i].size()))
      complaints += " sequence " + std::to_string(i) + " differs when rounding " +
                    (rounding == FE_UPWARD ? "upward" : "toward zero") + " and cut after " + std::to_string(cuts[i]) +
                    " layers;";
  engine.reset();  // sequences outlive their model
  opened[0].rewind(opened[0].length() / 2);
}

Floats run_matrix(Random& random, const MatrixCase& matrix, int isa, std::string& complaints) {
  Matrix alone(matrix.linear, isa, 1);
  const Floats expected = alone.multiply(matrix.input, 0, matrix.rows);
  Matrix shared(matrix.linear, isa, random.between(1, 3));
  const int half = matrix.rows / 2;
  Floats first, rest;
  std::thread other([&] { first = shared.multiply(matrix.input, 0, half); });
  rest = shared.multiply(matrix.input, half, matrix.rows - half);
  other.join();
  first.insert(first.end(), rest.begin(), rest.end());
  if (!same_bits(first.data(), expected.data(), expected.size())) complaints += " two halves differ from the whole;";
  return expected;
}

// Prints the case before it runs: after a crash, the last line names it.
void announce(int number, const std::string& description) {
  std::printf("case %d: %s -> ", number, description.c_str());
  std::fflush(stdout);
}

bool run_case(int number, int isa) {
  Random random(static_cast<uint64_t>(number));
  std::string complaints;
  Floats output;
  if (number % 4 == 3) {
    const MatrixCase matrix = random_matrix(random);
    announce(number, described(matrix));
    output = run_matrix(random, matrix, isa, complaints);
  } else {
    const ModelCase model = random_model(random);
    announce(number, described(model));
    const std::vector<Floats> expected = run_alone(model, isa, complaints);
    run_together(random, model, isa, expected, complaints);
    run_cut(random, model, isa, expected, complaints);
    for (const Floats& one : expected) output.insert(output.end(), one.begin(), one.end());
  }
  std::printf("%016llx%s%s\n", static_cast<unsigned long long>(hash_of(output)), complaints.empty() ? "" : " WRONG:",
              complaints.c_str());
  std::fflush(stdout);
  return complaints.empty();
}

}  // namespace

int main(int count, char** words) {
  if (!same_version()) {
    std::fprintf(stderr, "native_driver: the engine was built from other sources: install p2pinfer again\n");
    return 2;
  }
  if (count == 2 && std::string(words[1]) == "isas") {
    for (const char* name : kIsaNames)
      if (available_isa(name) >= 0) std::printf("%s\n", name);
    return 0;
  }
  const int isa = count == 4 ? available_isa(words[1]) : -1;
  if (isa < 0) {
    std::fprintf(stderr, "usage: native_driver ISA FIRST COUNT, with an ISA that `native_driver isas` names\n");
    return 2;
  }
  bool all_good = true;
  const int first = std::atoi(words[2]), end = first + std::atoi(words[3]);
  for (int number = first; number < end; ++number) all_good = run_case(number, isa) && all_good;
  return all_good ? 0 : 1;
}
