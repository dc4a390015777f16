public import LMoECore

/// The raw bytes of an entry in memory: in the map of the file, or decoded.
@safe public struct LoadedBytes: @unchecked Sendable {
  /// The bytes.
  ///
  /// Valid while `owner` is.
  @unsafe public let bytes: UnsafeRawBufferPointer
  /// What keeps them.
  public let owner: AnyObject
  /// Whether they are those of the file, without a copy.
  public let isMapped: Bool
}

extension Bundle {
  /// Brings entries into memory on all workers: raw ones stay in the map, others are decoded straight to where
  /// they stay.
  ///
  /// All are checked as by `decode` and `mappedBytes`.
  ///
  /// - Parameters:
  ///   - entries: What to load.
  ///   - pool: The workers.
  ///   - alignment: What the address of an entry of that type has to be a multiple of if it is used from the
  ///     map; nil if it is not to be.
  /// - Returns: One for each entry.
  /// - Throws: `chunk-damaged`, `chunk-invalid`, `content-mismatch`, `external`, `io`: of several, that of the
  ///   first entry.
  public func load(
    _ entries: [BankedEntry], on pool: WorkerPool = .shared, alignment: (TensorType) -> Int?
  ) throws(FormatError) -> [LoadedBytes] {
    for item in entries where item.entry.chunks.isEmpty { try requireEmpty(item) }
    let places = try places(of: entries.map(\.entry), alignment)
    let work = verifiedExtents.withValue { verified in
      zip(entries, places).map { item, place in
        LoadWork(item, place, isChecked: place.isMapped && verified.contains(item.entry.chunks))
      }
    }
    try run(work, on: pool)
    verifiedExtents.withValue { verified in
      for item in work where item.place.isMapped && !item.isChecked {
        verified.insert(item.item.entry.chunks)
      }
    }
    return places.map {
      unsafe LoadedBytes(bytes: $0.bytes, owner: $0.owner, isMapped: $0.isMapped)
    }
  }

  /// Checks an entry without chunks: it has no bytes, or they are elsewhere.
  func requireEmpty(_ item: BankedEntry) throws(FormatError) {
    if item.entry.type.rawBytes > 0 {
      throw FormatError(.external, path: path, bank: item.bank, entry: item.entry.name)
    }
    if chunkReader.checks, item.entry.contentHash != Checksum.hash128([]) {
      throw FormatError(.contentMismatch, path: path, bank: item.bank, entry: item.entry.name)
    }
  }

  private func places(
    of entries: [Entry], _ alignment: (TensorType) -> Int?
  ) throws(FormatError) -> [LoadPlace] {
    var places: [LoadPlace?] = []
    for entry in entries {
      var place: LoadPlace?
      if options.usesMap, entry.isRawExtent, let first = entry.chunks.first,
        let start = Int(exactly: first.offset), let alignment = alignment(entry.type),
        start.isMultiple(of: alignment)
      {
        place = LoadPlace(try mapped(), start..<start + entry.type.rawBytes)
      }
      places.append(place)
    }
    // What is decoded lies together: a page of its own for each small tensor costs more than decoding it.
    let decoded = places.indices.filter { places[$0] == nil }
    let memory = LoadPlace.inMemory(decoded.map { entries[$0].type.rawBytes })
    for (index, place) in zip(decoded, memory) { places[index] = place }
    return places.compactMap(\.self)
  }

  private func run(_ work: [LoadWork], on pool: WorkerPool) throws(FormatError) {
    let checks = chunkReader.checks
    let jobs = ChunkJobs(
      counts: work.map { $0.isChecked || ($0.place.isMapped && !checks) ? 0 : $0.item.entry.chunks.count })
    let failure = Guarded<(job: Int, error: FormatError)?>(nil)
    let windows = (0..<pool.count).map { _ in CheckWindow() }
    pool.run(items: jobs.count) { [self] job, worker in
      // Jobs begin in order: all before the first that fails are done in any case.
      if let first = failure.withValue({ $0?.job }), first < job { return }
      let (index, number) = jobs[job]
      do throws(FormatError) {
        try work[index].run(number, with: chunkReader, windows[worker])
      } catch {
        let item = work[index].item
        let error = error.at(path: path, bank: item.bank, entry: item.entry.name)
        failure.withValue { if job < $0?.job ?? .max { $0 = (job, error) } }
      }
    }
    if let failure = failure.withValue({ $0 }) { throw failure.error }
  }
}
