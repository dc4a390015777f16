import LMoECore
import LMoEFormat

/// Adapters of PEFT from before safetensors: `adapter_model.bin`, a pickle.
enum PickledAdapter {
  static let weights = "adapter_model.bin"

  /// The directory with the weights as safetensors, in memory.
  ///
  /// - Returns: nil if it has no pickle, or safetensors beside it.
  static func readable(_ path: String, in system: any FileSystem) throws -> MemoryDirectory? {
    guard system.kind(path) == .directory else { return nil }
    let directory = try SourceDirectory(path, in: system)
    guard directory.has(PEFTAdapter.configurationName), directory.leftOut.contains(weights),
      !directory.safetensors.contains(PEFTAdapter.weights)
    else { return nil }
    let file = try TorchFile(path: directory.path + "/" + weights, in: system)
    let tensors = file.tensors.map { NewEntry(tensor: $0.name, type: $0.type, source: file.source(of: $0)) }
    var files: [(name: String, bytes: [UInt8])] = []
    for name in directory.documents where !name.utf8.contains(UInt8(ascii: "/")) {
      let document = try system.open(directory.path + "/" + name, .read)
      files.append((name, try document.bytes(at: 0, count: Int(clamping: try document.size()))))
    }
    files.append(
      (PEFTAdapter.weights, try SafetensorsWriter.bytes(of: tensors, metadata: [("format", "pt")])))
    return MemoryDirectory(directory.path, files)
  }
}
