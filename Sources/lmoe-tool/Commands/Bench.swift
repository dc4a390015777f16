import ArgumentParser
import LMoECore
import LMoEFormat

/// The command `lmoe-tool bench`.
struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure this machine and this tool.",
    discussion: "Figures are of several rounds. The scripts in bench/ compare with peers.",
    subcommands: [BenchRun.self, BenchTrain.self, Codec.self, Verify.self, Load.self])

  /// Gigabytes a second.
  static func rate(_ bytes: some BinaryInteger, _ seconds: Double) -> Double {
    Double(bytes) / max(seconds, 1e-9) / 1e9
  }

  /// The command `lmoe-tool bench codec`.
  struct Codec: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "codec",
      abstract: "Time the plane codec on the tensors of a safetensors file, one thread.")

    @Argument(help: "The safetensors file.", completion: .file(extensions: ["safetensors"]))
    var file: String

    @OptionGroup var repetition: Repetition
    @OptionGroup var report: ReportOptions

    func run() throws {
      let result = try CodecMeasurement(try SafetensorsFile(path: file), rounds: repetition.rounds)
      let size = Double(result.storedBytes) / Double(max(result.rawBytes, 1))
      let bound = result.entropyBytes / Double(max(result.rawBytes, 1))
      let encode = Bench.rate(result.rawBytes, result.encodeSeconds)
      let decode = Bench.rate(result.rawBytes, result.decodeSeconds)
      let pack = Bench.rate(result.rawBytes, result.packSeconds)
      report.print([
        "schema": 1, "raw_bytes": .integer(result.rawBytes), "stored_bytes": .integer(result.storedBytes),
        "size": .double(size), "order0_bound": .double(bound), "encode_gb_s": .double(encode),
        "decode_gb_s": .double(decode), "pack_gb_s": .double(pack),
      ]) {
        Terminal.print(
          "size    \(formatted(100 * size, digits: 2)) % of \(formatted(bytes: result.rawBytes))")
        Terminal.print("bound   \(formatted(100 * bound, digits: 2)) % (order-0 entropy of the planes)")
        Terminal.print("encode  \(formatted(encode, digits: 2)) GB/s")
        Terminal.print("decode  \(formatted(decode, digits: 2)) GB/s")
        Terminal.print("pack    \(formatted(pack, digits: 2)) GB/s (encode, hash, decode again, compare)")
      }
    }
  }

  /// The command `lmoe-tool bench verify`.
  struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "verify",
      abstract: "Time the check of all chunk hashes against memory bandwidth and bare reading.")

    @Argument(help: "The bundle; warm in the page cache.", completion: .file(extensions: ["lmoe"]))
    var file: String

    @OptionGroup var repetition: Repetition
    @OptionGroup var read: ReadOptions
    @OptionGroup var report: ReportOptions

    func run() throws {
      var best = Double.infinity
      var stored: UInt64 = 0
      for _ in 0..<repetition.rounds {
        let start = monotonicNanoseconds()
        // What was really read: extents that banks share are checked once.
        let checked = Guarded<UInt64>(0)
        let bundle = try Bundle(path: file, options: read.bundleOptions)
        let damage = try bundle.verify(decoding: false) { bytes in checked.withValue { $0 += bytes } }
        if let first = damage.first { throw first }
        best = min(best, Double(monotonicNanoseconds() - start) / 1e9)
        stored = checked.withValue { $0 }
      }
      let floor = MemoryBandwidth.measure() / 1e9
      let reading = try Self.readingRate(file, rounds: repetition.rounds) / 1e9
      let reached = Bench.rate(stored, best)
      report.print([
        "schema": 1, "bytes": .integer(stored), "verify_gb_s": .double(reached),
        "memory_gb_s": .double(floor),
        "share": .double(reached / floor), "read_gb_s": .double(reading),
        "share_of_read": .double(reached / reading),
      ]) {
        Terminal.print(
          "verify  \(formatted(reached, digits: 1)) GB/s, open included, \(formatted(bytes: stored))")
        Terminal.print("floor   \(formatted(floor, digits: 1)) GB/s memory read bandwidth")
        Terminal.print("share   \(formatted(100 * reached / floor, digits: 0)) %")
        Terminal.print(
          "read    \(formatted(reading, digits: 1)) GB/s positioned reads of the file, not looked at")
        Terminal.print("share   \(formatted(100 * reached / reading, digits: 0)) %")
      }
    }

    /// Bytes a second that all workers read of a file, in pieces, without looking at them.
    private static func readingRate(_ path: String, rounds: Int) throws -> Double {
      let file = try PosixFileSystem().open(path, .read)
      let size = try file.size()
      let piece: UInt64 = 128 << 10
      var best = 0.0
      for _ in 0..<rounds {
        let start = monotonicNanoseconds()
        let queue = WorkQueue(count: Int(size / piece))
        WorkerPool.shared.run { _ in
          let buffer = RawBuffer(count: Int(piece))
          while let index = queue.next() {
            try? unsafe file.read(into: buffer.bytes, at: UInt64(index) * piece)
          }
        }
        best = max(best, Double(size) / (Double(monotonicNanoseconds() - start) / 1e9))
      }
      return best
    }
  }

  /// The command `lmoe-tool bench load`.
  struct Load: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "load",
      abstract: "Time reading every tensor of a bundle into memory, decoded and checked.")

    @Argument(help: "The bundle.", completion: .file(extensions: ["lmoe"]))
    var file: String

    @OptionGroup var repetition: Repetition
    @OptionGroup var report: ReportOptions

    func run() throws {
      var best = Double.infinity
      var loaded = Loaded()
      for _ in 0..<repetition.rounds {
        let start = monotonicNanoseconds()
        loaded = try Self.load(file)
        best = min(best, Double(monotonicNanoseconds() - start) / 1e9)
      }
      let rate = Bench.rate(loaded.raw, best)
      // What is stored is read, and what was packed is written besides.
      let memory = MemoryBandwidth.measure()
      let floor = Double(loaded.stored + loaded.decoded) / memory
      report.print([
        "schema": 1, "raw_bytes": .integer(loaded.raw), "stored_bytes": .integer(loaded.stored),
        "seconds": .double(best), "load_gb_s": .double(rate), "floor_seconds": .double(floor),
        "memory_gb_s": .double(memory / 1e9), "share": .double(floor / best),
      ]) {
        Terminal.print(
          "load    \(formatted(rate, digits: 2)) GB/s, \(formatted(bytes: loaded.raw)) in "
            + "\(formatted(best, digits: 3)) s")
        Terminal.print(
          "floor   \(formatted(floor, digits: 3)) s: \(formatted(bytes: loaded.stored)) read, "
            + "\(formatted(bytes: loaded.decoded)) decoded, at \(formatted(memory / 1e9, digits: 1)) GB/s of memory"
        )
        Terminal.print("share   \(formatted(100 * floor / best, digits: 0)) %")
      }
    }

    /// Bytes of tensors: as they are meant, as they are stored, and of those the ones that were decoded.
    private struct Loaded {
      var raw: UInt64 = 0
      var stored: UInt64 = 0
      var decoded: UInt64 = 0
    }

    /// Loads every tensor as a model does: a raw one is mapped and checked, others are decoded.
    private static func load(_ file: String) throws -> Loaded {
      let bundle = try Bundle(path: file)
      var entries: [BankedEntry] = []
      for bank in bundle.banks {
        for entry in try bundle.manifest(of: bank).tensors where entry.type.rawBytes > 0 {
          entries.append(BankedEntry(bank: bank.name, entry: entry))
        }
      }
      var result = Loaded()
      for (item, loaded) in zip(entries, try bundle.load(entries) { _ in 1 }) {
        result.raw += UInt64(item.entry.type.rawBytes)
        result.stored += item.entry.chunks.reduce(0) { $0 + UInt64($1.storedLength) }
        if !loaded.isMapped { result.decoded += UInt64(item.entry.type.rawBytes) }
      }
      return result
    }
  }
}

/// How often a measurement is repeated.
struct Repetition: ParsableArguments {
  @Option(name: .long, help: "Rounds; the best counts.")
  var rounds = 5

  func validate() throws {
    if rounds < 1 { throw ValidationError("--rounds must be at least 1.") }
  }
}
