public import LMoECore

extension Bundle {
  /// Checks every byte that this generation names, and reports all damage, in order.
  ///
  /// - Parameters:
  ///   - decoding: Also decode every chunk and compare the content hashes. Without it, the hashes of the
  ///     stored bytes are compared, which covers damage of every kind after writing.
  ///   - pool: The workers.
  ///   - progress: Called with the number of stored bytes checked so far, from any worker.
  /// - Returns: One error for each damaged manifest, card, or chunk; empty if all is well.
  public func verify(
    decoding: Bool, on pool: WorkerPool = .shared, progress: @escaping @Sendable (UInt64) -> Void = { _ in }
  ) throws(FormatError) -> [FormatError] {
    var damage: [FormatError] = []
    var entries: [BankedEntry] = []
    for bank in banks {
      do throws(FormatError) {
        let manifest = try manifest(of: bank)
        entries += manifest.entries.map { BankedEntry(bank: bank.name, entry: $0) }
      } catch { damage.append(error) }
      do throws(FormatError) { _ = try card(of: bank) } catch { damage.append(error) }
    }
    if decoding {
      for item in entries where !item.entry.chunks.isEmpty || item.entry.type.rawBytes == 0 {
        do throws(FormatError) {
          try unsafe decode([item], on: pool) { (_, _, bytes) in progress(UInt64(bytes.count)) }
        } catch { damage.append(error) }
      }
    } else {
      damage += checkStoredBytes(entries, on: pool, progress)
    }
    return damage
  }

  /// Checks each extent once, however many entries share it, and names all that do.
  private func checkStoredBytes(
    _ entries: [BankedEntry], on pool: WorkerPool, _ progress: @escaping @Sendable (UInt64) -> Void
  ) -> [FormatError] {
    let chunks = Array(Set(entries.flatMap(\.entry.chunks))).sorted { $0.offset < $1.offset }
    let damaged = Guarded<[Chunk: FormatError]>([:])
    let queue = WorkQueue(count: chunks.count)
    pool.run { _ in
      let window = CheckWindow()
      while let number = queue.next() {
        let chunk = chunks[number]
        do throws(FormatError) {
          try self.chunkReader.check(chunk, with: window)
        } catch {
          damaged.withValue { $0[chunk] = error }
        }
        progress(UInt64(chunk.storedLength))
      }
    }
    let found = damaged.withValue { $0 }
    if found.isEmpty { return [] }
    return entries.flatMap { item in
      item.entry.chunks.compactMap { chunk in
        found[chunk]?.at(path: path, bank: item.bank, entry: item.entry.name)
      }
    }
  }
}
