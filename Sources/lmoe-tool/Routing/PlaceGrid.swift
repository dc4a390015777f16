import LMoECore

/// Where gates decide, as a table: a column for each layer, a row for each module in a layer.
struct PlaceGrid: Sendable {
  /// The layers' numbers, ascending; empty where one gate decides for the whole model.
  let layers: [Int]
  /// The modules of a layer; one without a name where each layer has one gate.
  let modules: [String]
  /// Row by row the index of each place; nil where there is none.
  let cells: [Int?]
  /// Places that are in no layer.
  let others: [Int]

  /// Orders places by layer and module.
  init(_ places: [String]) {
    var found: [(layer: Int, module: String, place: Int)] = []
    var others: [Int] = []
    for (index, place) in places.enumerated() {
      if let (layer, module) = Self.split(place) {
        found.append((layer, module, index))
      } else {
        others.append(index)
      }
    }
    var modules: [String] = []
    for (_, module, _) in found where !modules.contains(where: { $0.hasSameBytes(as: module) }) {
      modules.append(module)
    }
    let layers = Set(found.map(\.layer)).sorted()
    var cells = [Int?](repeating: nil, count: layers.count * modules.count)
    for (layer, module, place) in found {
      guard let row = modules.firstIndex(where: { $0.hasSameBytes(as: module) }),
        let column = layers.firstIndex(of: layer)
      else { continue }
      cells[row * layers.count + column] = place
    }
    (self.layers, self.modules, self.cells, self.others) = (layers, modules, cells, others)
  }

  /// `model.layers.3.mlp.up_proj`: 3, `mlp.up_proj`.
  private static func split(_ place: String) -> (layer: Int, module: String)? {
    let parts = place.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard let index = parts.firstIndex(where: { $0.elementsEqual("layers".utf8) }),
      index + 1 < parts.count, let layer = Int(String(decoding: parts[index + 1], as: UTF8.self)), layer >= 0
    else { return nil }
    let module = parts[(index + 2)...].map { String(decoding: $0, as: UTF8.self) }.joined(separator: ".")
    return (layer, module)
  }

  /// A module in a few letters: `q`, `gate`.
  static func label(_ module: String) -> String {
    let last = module.utf8.split(separator: UInt8(ascii: ".")).last.map {
      String(decoding: $0, as: UTF8.self)
    }
    let label = last ?? module
    return label.hasSuffix("_proj") ? String(label.dropLast(5)) : label
  }
}
