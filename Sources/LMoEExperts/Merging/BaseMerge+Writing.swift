public import LMoECore
import LMoEFormat

extension BaseMerge {
  /// Writes the merged model to the new directory `path`, as a Hugging Face checkpoint that appears when it is whole.
  ///
  /// - Parameter progress: Called with the number of bytes that were written, from any worker.
  /// - Returns: The names of the files.
  /// - Throws: `ExpertError`, `FormatError`, `FileError`; nothing is left at `path` then.
  @discardableResult public func write(
    to path: String, on pool: WorkerPool = .shared, in system: any FileSystem = PosixFileSystem(),
    progress: @escaping @Sendable (UInt64) -> Void = { _ in }
  ) throws -> [String] {
    // What is wrong with an expert is said as what it is, before the first byte is written.
    try merge.requireNumbers(on: pool)
    let files = files()
    return try NewDirectory.making(path, in: system) { made, directory in
      var written: [String] = []
      for document in base.documents {
        guard let name = document.name.dropping("files/") else { continue }
        var bytes = try Self.bytes(of: document)
        if unties { bytes = try untied(name, bytes, files) }
        let final = bytes
        try writeAtomically(try made.place(name, in: directory, of: path), in: system, failure: { $0 }) {
          (file) throws(FileError) in try file.write(final, at: 0)
        }
        written.append(name)
      }
      for (name, tensors) in files {
        try SafetensorsWriter.write(
          try made.place(name, in: directory, of: path), tensors: tensors, metadata: [("format", "pt")],
          on: pool,
          in: system, progress: progress)
        written.append(name)
      }
      return written
    }
  }

  private static func bytes(of document: NewEntry) throws -> [UInt8] {
    let buffer = RawBuffer(count: document.type.rawBytes)
    let bytes = unsafe buffer.prefix(document.type.rawBytes)
    try unsafe document.source.read(into: bytes, at: 0)
    return unsafe Array(bytes)
  }

  /// The bytes that it writes.
  public var byteCount: UInt64 {
    files().reduce(0) { $0 + $1.tensors.reduce(0) { $0 + UInt64($1.type.rawBytes) } }
  }

  /// A configuration or an index of the model with a head of its own.
  private func untied(
    _ name: String, _ bytes: [UInt8], _ files: [(name: String, tensors: [NewEntry])]
  ) throws -> [UInt8] {
    guard ["config.json", "model.safetensors.index.json"].contains(name) else { return bytes }
    let json: JSON
    do throws(JSONError) { json = try JSON(parsing: bytes) } catch {
      throw ExpertError(.invalidConfiguration, path: base.path + "/" + name, found: error.description)
    }
    guard var object = json.object else { return bytes }
    if name == "config.json" {
      object["tie_word_embeddings"] = false
    } else {
      var map = JSONObject()
      var size = 0
      for file in files {
        for tensor in file.tensors {
          map[tensor.name] = .string(file.name)
          size += tensor.type.rawBytes
        }
      }
      object["weight_map"] = .object(map)
      if var metadata = object["metadata"]?.object {
        metadata["total_size"] = .integer(size)
        object["metadata"] = .object(metadata)
      }
    }
    return Array(JSON.object(object).serialized(pretty: true).utf8)
  }
}
