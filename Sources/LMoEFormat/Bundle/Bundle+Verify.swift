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

  private func checkStoredBytes(
    _ entries: [BankedEntry], on pool: WorkerPool, _ progress: @escaping @Sendable (UInt64) -> Void
  ) -> [FormatError] {
    let jobs = ChunkJobs(entries.map(\.entry))
    let damage = Guarded<[(job: Int, error: FormatError)]>([])
    let region = options.usesMap ? try? mapped() : nil
    let pieces = WorkQueue(count: jobs.count)
    pool.run { _ in
      let buffer = RawBuffer(count: region == nil ? Self.maximumChunkBytes : 1)
      while let job = pieces.next() {
        let (index, number) = jobs[job]
        let item = entries[index]
        let chunk = item.entry.chunks[number]
        do throws(FormatError) {
          if let region {
            try self.check(chunk, in: region)
          } else {
            let stored = unsafe buffer.prefix(chunk.storedLength)
            try io { () throws(FileError) in
              try unsafe self.file.read(into: stored, at: chunk.offset)
            }
            if unsafe Checksum.hash64(UnsafeRawBufferPointer(stored)) != chunk.storedHash {
              throw FormatError(.chunkDamaged, offset: chunk.offset)
            }
          }
        } catch {
          let error = error.at(path: self.path, bank: item.bank, entry: item.entry.name)
          damage.withValue { $0.append((job, error)) }
        }
        progress(UInt64(chunk.storedLength))
      }
    }
    return damage.withValue { $0.sorted { $0.job < $1.job }.map(\.error) }
  }
}
