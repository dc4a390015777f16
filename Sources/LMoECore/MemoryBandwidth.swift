private import CLMoEKernels

/// The rate at which memory can be read: the floor for everything that has to look at every byte.
public enum MemoryBandwidth {
  /// Bytes a second that all workers of `pool` read together, the best of `rounds`.
  ///
  /// Reads `bytes` bytes a worker, more than the caches hold.
  public static func measure(
    on pool: WorkerPool = .shared, bytes: Int = 256 << 20, rounds: Int = 5
  ) -> Double {
    let buffers = (0..<pool.count).map { _ in RawBuffer(count: bytes) }
    let sink = Guarded<UInt64>(0)
    pool.run { worker in
      unsafe buffers[worker].bytes.initializeMemory(as: UInt8.self, repeating: UInt8(worker + 1))
    }
    var best = 0.0
    for _ in 0..<rounds {
      let start = monotonicNanoseconds()
      pool.run { worker in
        let sum = unsafe lmoe_sum_words(buffers[worker].bytes.baseAddress, bytes)
        sink.withValue { $0 &+= sum }
      }
      let seconds = Double(monotonicNanoseconds() - start) / 1e9
      best = max(best, Double(bytes * pool.count) / seconds)
    }
    return best
  }
}
